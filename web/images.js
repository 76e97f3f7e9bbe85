// The pictures of the grid on the wire: asked for as whoever is signed in or as nobody, and what can be done about one.

import { Problem, apiFetch, session } from '/auth.js';

const timeoutMs = 35_000;

let known = null;

// What the browser kept of an earlier answer it asks for by its ETag, and mostly hears that nothing has changed.
async function askAsNobody(path) {
  try {
    const response = await fetch(window.SWEETHEART.apiUrl + path, { cache: 'no-cache', signal: AbortSignal.timeout(timeoutMs) });
    const answer = await response.json();
    if (response.ok) return answer;
    throw new Problem({ code: answer.code, status: response.status, message: 'Something went wrong on our side. Please try again.', requestId: answer.request_id });
  } catch (problem) {
    if (problem instanceof Problem) throw problem;
    throw new Problem({ code: 'unreachable', message: 'We cannot reach the server. Please check your connection and try again.' });
  }
}

// The grid is for everybody: who cannot be known reads it as nobody, until it is known who she is.
async function reader() {
  try {
    known = (await session())?.user ?? null;
  } catch (problem) {
    if (known) throw problem;
  }
  return known;
}

// A page, the first one without a cursor, and who was told it. `asOf` is when it was asked for.
export async function askPage(order, cursor) {
  const path = `/images?${new URLSearchParams({ order, ...(cursor && { cursor }) })}`;
  const asOf = performance.now();
  const user = await reader();
  if (user) {
    try {
      return { ...(await apiFetch(path)), cursor, asOf, user };
    } catch (problem) {
      if (problem.code !== 'unauthenticated') throw problem;
    }
  }
  return { ...(await askAsNobody(path)), cursor, asOf, user: null };
}

const put = (path, wanted) => apiFetch(path, { method: wanted ? 'PUT' : 'DELETE' });

export const sendLike = (id, liked) => put(`/images/${id}/like`, liked);
export const publish = (id, published) => put(`/images/${id}/published`, published);
export const sendReport = (id, reason) => apiFetch(`/images/${id}/reports`, { method: 'POST', body: { reason } });

const words = {
  image_not_found: 'This picture is no longer in the grid.',
  database_unavailable: 'We cannot get at the pictures at the moment. Please try again shortly.',
};

export function reasonOf({ code, message, requestId }) {
  if (words[code]) return words[code];
  return requestId ? `${message} If it keeps happening, tell us this number: ${requestId}` : message;
}
