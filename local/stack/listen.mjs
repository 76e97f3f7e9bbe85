// Serves an app on loopback.

import { serve } from '@hono/node-server';

// Answers {stop} once it listens.
export async function listen(app, port) {
  const server = serve({ fetch: app.fetch, port, hostname: '127.0.0.1' });
  await new Promise((resolve, reject) => server.once('listening', resolve).once('error', reject));
  return {
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
