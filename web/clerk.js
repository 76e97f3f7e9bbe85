// The one place that knows clerk-js (https://clerk.com/docs/reference/javascript/clerk): who is signed in, where config.js says
// that Clerk and not Supabase Auth knows our people. Whatever fails here fails as it likes; auth.js makes words of it.

const { clerk } = window.SWEETHEART;

let loading = null;

// Clerk, loaded once it is needed.
function load() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement('script');
    script.src = clerk.scriptUrl;
    script.crossOrigin = 'anonymous';
    script.dataset.clerkPublishableKey = clerk.publishableKey;
    script.onload = () => window.Clerk.load().then(() => resolve(window.Clerk), reject);
    script.onerror = () => reject(new Error('clerk-js did not load'));
    document.head.append(script);
  });
  // The next one who asks tries again.
  loading.catch(() => (loading = null));
  return loading;
}

// As of Supabase: {access_token, user}, or null when nobody is signed in. The id is Clerk's; ours comes with the dashboard.
export async function session() {
  const { session: current, user } = await load();
  const token = await current?.getToken();
  if (!token) return null;
  return { access_token: token, user: { id: user.id, email: user.primaryEmailAddress?.emailAddress } };
}

export async function refreshedToken() {
  const { session: current } = await load();
  return current?.getToken({ skipCache: true });
}

// The page goes on by itself: hence a callback, without which Clerk would.
export async function logOut() {
  const loaded = await load();
  await loaded.signOut(() => {});
}

export async function onLogOut(callback) {
  const loaded = await load();
  let wasIn = false;
  loaded.addListener(({ session: current }) => {
    if (wasIn && !current) callback();
    wasIn = Boolean(current);
  });
}

const home = () => new URL('/dashboard', location.origin).href;

export async function goToSignIn() {
  const loaded = await load();
  await loaded.redirectToSignIn({ signInForceRedirectUrl: home(), signUpForceRedirectUrl: home() });
}

export async function goToSignUp() {
  const loaded = await load();
  await loaded.redirectToSignUp({ signInForceRedirectUrl: home(), signUpForceRedirectUrl: home() });
}
