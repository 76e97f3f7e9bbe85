// Who is signed in, and how a request to our API carries that. The one place that knows supabase-js; clerk.js beside it knows
// Clerk, which takes the place of Supabase Auth where config.js says so.
//
// Everything here fails with a Problem, whose message is a sentence that a person may read and whose code a page can
// act upon.

import * as clerk from '/clerk.js';

const { supabaseUrl, supabaseKey, apiUrl } = window.SWEETHEART;

export const usesClerk = Boolean(window.SWEETHEART.clerk);

const sessionKey = 'sweetheart.session';
// In this tab somebody went to Google: what comes back is hers, and not a link that somebody else made up.
const awayKey = 'sweetheart.away';

// API Gateway gives up after thirty.
const apiTimeoutMs = 35_000;
const logOutTimeoutMs = 3_000;
// supabase-js itself tries for a minute to renew a session, which is long for somebody who sees nothing meanwhile.
const sessionTimeoutMs = 10_000;
const joinAgainMs = 5_000;

// Supabase's own limits: the minimum is set in infra/supabase/config.toml, bcrypt reads no more than the maximum.
export const minPasswordLength = 8;
export const maxPasswordBytes = 72;

const supabase = window.supabase.createClient(supabaseUrl, supabaseKey, {
  auth: {
    storageKey: sessionKey,
    // The link in the mail proves the address, it does not log anybody in: redirect.js reads its fragment itself.
    detectSessionInUrl: false,
  },
});

export class Problem extends Error {
  constructor({ code, message, status = 0, errors = [], requestId = null, portalUrl = null, retryAfter = null, cost = null, credits = null }) {
    super(message);
    this.name = 'Problem';
    this.code = code;
    this.status = status;
    this.errors = errors;
    this.requestId = requestId;
    this.portalUrl = portalUrl;
    this.retryAfter = retryAfter;
    this.cost = cost;
    this.credits = credits;
  }
}

const unreachable = () =>
  new Problem({
    code: 'unreachable',
    message: 'We cannot reach the server. Please check your connection and try again.',
  });

const unauthenticated = () =>
  new Problem({ code: 'unauthenticated', status: 401, message: 'Please log in again.' });

const authWords = {
  invalid_credentials: 'That e-mail address and password do not match.',
  email_not_confirmed: 'Your e-mail address is not confirmed yet. Please open the link in the mail that we sent you.',
  email_address_invalid: 'This does not look like an address that we can write to.',
  validation_failed: 'This does not look like an address that we can write to.',
  user_already_exists: 'There is already an account with this address. Please log in instead.',
  email_exists: 'There is already an account with this address. Please log in instead.',
  email_address_not_authorized: 'We cannot send mails to this address at the moment. Please try another one.',
  over_email_send_rate_limit: 'Too many mails were asked for just now. Please wait a few minutes before asking again.',
  over_request_rate_limit: 'That was a little too often. Please wait a few minutes and try again.',
  signup_disabled: 'New accounts cannot be made at the moment.',
  user_banned: 'This account has been closed.',
};

function weakPasswordWords(reasons = []) {
  if (reasons.includes('pwned')) return 'This password is known from a data leak elsewhere. Please choose another.';
  if (reasons.includes('characters')) return 'Please mix lower and upper case letters, digits and symbols.';
  return 'Please choose a longer password.';
}

function problemFromAuth(error) {
  if (error.name === 'AuthRetryableFetchError') return unreachable();
  const words = error.code === 'weak_password' ? weakPasswordWords(error.reasons) : authWords[error.code];
  return new Problem({
    code: error.code ?? 'internal',
    status: error.status,
    message: words ?? 'Something went wrong on our side. Please try again.',
  });
}

// Whatever fails in between, Clerk's script or its server.
const byClerk = (work) =>
  work.catch((error) => {
    throw error instanceof Problem ? error : unreachable();
  });

export const goToSignIn = () => byClerk(clerk.goToSignIn());
export const goToSignUp = () => byClerk(clerk.goToSignUp());

const confirmationUrl = () => new URL('/redirect', location.origin).href;

// What is promised, or undefined when it takes longer.
const within = (ms, promise) => Promise.race([promise, new Promise((resolve) => setTimeout(resolve, ms))]);

export async function signUp(email, password) {
  const { error } = await supabase.auth.signUp({
    email,
    password,
    options: { emailRedirectTo: confirmationUrl() },
  });
  if (error) throw problemFromAuth(error);
}

export async function resendConfirmation(email) {
  const { error } = await supabase.auth.resend({
    type: 'signup',
    email,
    options: { emailRedirectTo: confirmationUrl() },
  });
  if (error) throw problemFromAuth(error);
}

// Where to click for Google, or null where the project does not offer it.
export async function googleUrl() {
  try {
    const response = await fetch(`${supabaseUrl}/auth/v1/settings`, { headers: { apikey: supabaseKey } });
    const { external } = await response.json();
    if (external?.google !== true) return null;
  } catch {
    return null;
  }
  const url = new URL('/auth/v1/authorize', supabaseUrl);
  url.search = new URLSearchParams({ provider: 'google', redirect_to: confirmationUrl() });
  return url.href;
}

export const goingToGoogle = () => sessionStorage.setItem(awayKey, 'google');

// What Google and Supabase brought along in the address, for who went there from this tab: null, or who is signed in from now
// on, or else why not in their own words.
export async function googleResult() {
  if (!sessionStorage.getItem(awayKey)) return null;
  sessionStorage.removeItem(awayKey);
  // Errors come in the query, the fragment, or both.
  const brought = new URLSearchParams(location.hash.slice(1));
  const told = brought.has('error') ? brought : new URLSearchParams(location.search);
  if (told.has('error')) return { signedIn: false, code: told.get('error'), reason: told.get('error_description') };
  const [access_token, refresh_token] = [brought.get('access_token'), brought.get('refresh_token')];
  if (!access_token || !refresh_token) return null;
  const { error } = await supabase.auth.setSession({ access_token, refresh_token });
  return error ? { signedIn: false, code: error.code, reason: problemFromAuth(error).message } : { signedIn: true };
}

// What the link in the confirmation mail brought along in the address: null, or whether it worked.
export function confirmationResult() {
  const brought = new URLSearchParams(location.hash.slice(1));
  if (brought.has('error')) return { confirmed: false, code: brought.get('error_code') };
  if (brought.has('access_token')) return { confirmed: true };
  return null;
}

export async function logIn(email, password) {
  const { error } = await supabase.auth.signInWithPassword({ email, password });
  if (error) throw problemFromAuth(error);
}

// Ends this session, and forgets it here even when the server does not answer: "log out" must never fail.
export async function logOut() {
  const ending = usesClerk ? clerk.logOut().catch(() => {}) : supabase.auth.signOut({ scope: 'local' });
  await within(logOutTimeoutMs, ending);
  localStorage.removeItem(sessionKey);
}

export function onLogOut(callback) {
  if (usesClerk) {
    // A page that cannot reach Clerk says so when it asks who is there.
    clerk.onLogOut(callback).catch(() => {});
    return;
  }
  supabase.auth.onAuthStateChange((event) => {
    if (event === 'SIGNED_OUT') callback();
  });
}

// The session, or null when nobody is logged in. An expired one is refreshed on the way.
export async function session() {
  if (usesClerk) {
    const current = await within(sessionTimeoutMs, byClerk(clerk.session()));
    if (current === undefined) throw unreachable();
    return current;
  }
  const answer = await within(sessionTimeoutMs, supabase.auth.getSession());
  if (!answer || answer.error?.name === 'AuthRetryableFetchError') throw unreachable();
  return answer.data.session;
}

// For pages that need a person: the session, or a way out to the log-in page.
export async function requireSession() {
  const current = await session();
  if (!current) location.replace('/login');
  return current;
}

// For pages that only a stranger needs: whoever is logged in goes on to the dashboard.
export async function skipIfLoggedIn() {
  const current = await session().catch(() => null);
  if (current) location.replace('/dashboard');
}

// Listens to a private channel of Supabase Realtime. What comes is a hint to ask, and no more. `onJoined(true | false)` tells
// whether it can be relied upon; what happened before it was joined was told to nobody.
export async function listen(topic, { onNews, onJoined }) {
  await supabase.realtime.setAuth();
  supabase
    .channel(topic, { config: { private: true } })
    .on('broadcast', { event: '*' }, onNews)
    .subscribe((status) => {
      onJoined(status === 'SUBSCRIBED');
      // The library joins again by itself, unless the server has closed the channel: when her token was too old, for instance.
      if (status === 'CLOSED') setTimeout(() => listen(topic, { onNews, onJoined }), joinAgainMs);
    });
}

async function refreshedToken() {
  if (usesClerk) {
    const token = await byClerk(clerk.refreshedToken());
    if (!token) throw unauthenticated();
    return token;
  }
  const { data, error } = await supabase.auth.refreshSession();
  if (error?.name === 'AuthRetryableFetchError') throw unreachable();
  if (error) throw unauthenticated();
  return data.session.access_token;
}

async function send(path, { method = 'GET', body, idempotencyKey }, token) {
  const headers = { authorization: `Bearer ${token}` };
  if (body !== undefined) headers['content-type'] = 'application/json';
  if (idempotencyKey) headers['idempotency-key'] = idempotencyKey;
  try {
    return await fetch(apiUrl + path, {
      method,
      headers,
      body: JSON.stringify(body),
      cache: 'no-store',
      signal: AbortSignal.timeout(apiTimeoutMs),
    });
  } catch {
    throw unreachable();
  }
}

// A gateway in between may answer without a body of ours; the status still tells enough.
async function jsonOf(response) {
  try {
    return await response.json();
  } catch {
    return {};
  }
}

function problemFromApi({ status, headers }, problem) {
  return new Problem({
    code: problem.code ?? 'internal',
    status,
    message: 'Something went wrong on our side. Please try again.',
    errors: problem.errors ?? [],
    requestId: problem.request_id ?? null,
    portalUrl: problem.portal_url ?? null,
    retryAfter: Number(headers.get('retry-after')),
    cost: problem.cost ?? null,
    credits: problem.credits ?? null,
  });
}

// Calls our API as the person who is logged in and answers the parsed JSON.
export async function apiFetch(path, request = {}) {
  const current = await session();
  if (!current) throw unauthenticated();

  let response = await send(path, request, current.access_token);
  if (response.status === 401) response = await send(path, request, await refreshedToken());
  if (response.status === 401) throw unauthenticated();
  const answer = await jsonOf(response);
  if (!response.ok) throw problemFromApi(response, answer);
  return answer;
}
