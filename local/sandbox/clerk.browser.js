// What web/clerk.js uses of clerk-js (https://clerk.com/docs/reference/javascript/clerk), against clerk.mjs.

(() => {
  const api = new URL(document.currentScript.src).origin;
  const browserKey = '__clerk_db_jwt';
  const renewBeforeMs = 10_000;
  const listeners = new Set();

  async function ask(path, method = 'GET') {
    const response = await fetch(`${api}/v1/client${path}?${browserKey}=${localStorage.getItem(browserKey) ?? ''}`, { method });
    if (!response.ok && response.status !== 404) throw new Error(`Clerk answered ${response.status}`);
    return response.json();
  }

  const expiresAt = (jwt) => JSON.parse(atob(jwt.split('.')[1].replaceAll('-', '+').replaceAll('_', '/'))).exp * 1000;

  function sessionOf({ id, user }) {
    let kept = null;
    return {
      id,
      user: { id: user.id, primaryEmailAddress: { emailAddress: user.email } },
      async getToken({ skipCache = false } = {}) {
        if (skipCache || !kept || expiresAt(kept) - Date.now() < renewBeforeMs) {
          kept = (await ask(`/sessions/${id}/tokens`, 'POST')).jwt ?? null;
          if (!kept) set(null);
        }
        return kept;
      },
    };
  }

  function set(session) {
    Clerk.session = session;
    Clerk.user = session?.user ?? null;
    for (const listener of listeners) listener({ session, user: Clerk.user });
  }

  async function look() {
    const { response } = await ask('');
    set(response.sessions.length > 0 ? sessionOf(response.sessions[0]) : null);
  }

  const leaveTo = (path, back) => {
    const page = new URL(path, api);
    page.searchParams.set('redirect_url', back ?? location.href);
    location.assign(page);
  };

  const Clerk = {
    loaded: false,
    session: undefined,
    user: undefined,
    async load() {
      const here = new URL(location.href);
      const brought = here.searchParams.get(browserKey);
      if (brought) {
        localStorage.setItem(browserKey, brought);
        here.searchParams.delete(browserKey);
        history.replaceState(history.state, '', here);
      }
      await look();
      Clerk.loaded = true;
    },
    addListener(listener) {
      listeners.add(listener);
      if (Clerk.session !== undefined) listener({ session: Clerk.session, user: Clerk.user });
      return () => listeners.delete(listener);
    },
    async redirectToSignIn({ signInForceRedirectUrl } = {}) {
      leaveTo('/clerk/sign-in', signInForceRedirectUrl);
    },
    async redirectToSignUp({ signUpForceRedirectUrl } = {}) {
      leaveTo('/clerk/sign-in', signUpForceRedirectUrl);
    },
    async signOut(callback) {
      await ask('', 'DELETE');
      localStorage.removeItem(browserKey);
      set(null);
      await callback();
    },
  };

  // In another tab.
  addEventListener('storage', ({ key }) => key === browserKey && look());

  window.Clerk = Clerk;
})();
