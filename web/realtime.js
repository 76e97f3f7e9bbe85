// Listens to Supabase Realtime: the database sends a line to its owner's private channel when a picture's state changes. A hint to
// ask, and no more: what is shown comes from our API. Where Realtime is not, or is silent, the page asks by itself.

import { session } from '/auth.js';

const { supabaseUrl, supabaseKey } = window.SWEETHEART;

const beatMs = 25_000;
const shortestWaitMs = 1000;
const longestWaitMs = 60_000;

const socketUrl = () => {
  const url = new URL('/realtime/v1/websocket', supabaseUrl.replace(/^http/, 'ws'));
  url.search = new URLSearchParams({ apikey: supabaseKey, vsn: '1.0.0' });
  return url;
};

// Calls `onNews` when something has happened, and `onJoined(true | false)` when that can be relied upon or not.
export function listen(userId, { onNews, onJoined }) {
  const topic = `realtime:generation-jobs:${userId}`;
  let wait = shortestWaitMs;

  async function connect() {
    const current = await session().catch(() => null);
    if (!current) return later();
    const socket = new WebSocket(socketUrl());
    let ref = 0;
    const send = (about, event, payload) => socket.send(JSON.stringify({ topic: about, event, payload, ref: `${(ref += 1)}`, join_ref: '1' }));

    let beat;
    let heard = true;
    socket.onopen = () => {
      const config = { private: true, broadcast: { self: false, ack: false }, presence: { key: '' }, postgres_changes: [] };
      send(topic, 'phx_join', { config, access_token: current.access_token });
      beat = setInterval(() => {
        if (!heard) return socket.close();
        heard = false;
        send('phoenix', 'heartbeat', {});
      }, beatMs);
    };
    socket.onmessage = ({ data }) => {
      heard = true;
      const { topic: about, event, payload } = JSON.parse(data);
      if (about !== topic) return;
      if (event === 'broadcast') onNews();
      else if (event === 'phx_reply' && payload.status === 'ok') {
        wait = shortestWaitMs;
        onJoined(true);
        // What happened before it was joined was told to nobody.
        onNews();
      } else if (event === 'phx_reply' || event === 'phx_error' || event === 'phx_close') {
        // Refused, or the session's token is too old: again, with a fresh one.
        socket.close();
      }
    };
    socket.onclose = () => {
      clearInterval(beat);
      onJoined(false);
      later();
    };
  }

  function later() {
    setTimeout(connect, wait);
    wait = Math.min(wait * 2, longestWaitMs);
  }

  connect();
}
