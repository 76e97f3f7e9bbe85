// What image models make here, and the servers that hand it out, as replicate.delivery and fal.media do.

import { setTimeout as delay } from 'node:timers/promises';
import { Hono } from 'hono';
import { stream } from 'hono/streaming';
import sharp from 'sharp';
import { HEIGHT, WIDTH, draw } from './portrait.mjs';

const FAULTS = ['image_server_error', 'image_gone', 'image_not_an_image', 'image_truncated', 'image_large', 'image_huge'];
const HUGE_BYTES = 64 * 1024 * 1024;
const INSET = { width: 240, height: 240, fit: 'inside' };
const MARGIN = 32;

// A picture that was given is seen to have been: it hangs in a corner, framed.
async function hang(image, given) {
  const inset = await sharp(given).rotate().resize(INSET).extend({ top: 8, bottom: 8, left: 8, right: 8, background: '#fff8ee' }).toBuffer({ resolveWithObject: true });
  const { data, info } = inset;
  return sharp(image).composite([{ input: data, left: MARGIN, top: HEIGHT - info.height - MARGIN }]).webp({ quality: 88 }).toBuffer();
}

// Fifty megapixels, stored in the way that takes the most memory to read.
const large = (image) => sharp(image).resize(5792, 8688, { fit: 'fill' }).jpeg({ progressive: true }).toBuffer();

const black = () => sharp({ create: { width: WIDTH, height: HEIGHT, channels: 3, background: '#000' } }).webp().toBuffer();

// `url` is where this server answers.
export function pictures({ faults, url, stopped, log }) {
  const app = new Hono();
  const kept = new Map();

  // The picture of a prompt and a seed; `imageUrl` is the one to start from, if any. Takes `ms` at least.
  async function make({ prompt, seed, imageUrl, ms }) {
    const paint = async () => {
      const [image, given] = await Promise.all([draw(prompt, seed), imageUrl && download(imageUrl)]);
      return given ? hang(image, given) : image;
    };
    const [image] = await Promise.all([paint(), delay(ms, undefined, { signal: stopped })]);
    return image;
  }

  async function download(imageUrl) {
    const response = await fetch(imageUrl, { signal: AbortSignal.any([stopped, AbortSignal.timeout(10_000)]) });
    if (!response.ok) throw new Error(`Failed to download the input image: ${response.status}`);
    return Buffer.from(await response.arrayBuffer());
  }

  // Hands it out from now on; `said` is what the faults of this server look at. Answers its link.
  function show(id, image, said) {
    kept.set(id, { image, said });
    return `${url}/files/${id}/out-0.webp`;
  }

  app.get('/files/:id/out-0.webp', async (c) => {
    const id = c.req.param('id');
    const picture = kept.get(id) ?? { said: '' };
    const { image, said } = picture;
    const fault = FAULTS.find((one) => faults.strikes(one, said));
    if (fault) log(`${id}: ${fault}`);
    if (fault === 'image_server_error') return c.text('Internal Server Error', 500);
    if (fault === 'image_gone' || !image) return c.text('Not Found', 404);

    const webp = { 'content-type': 'image/webp' };
    if (fault === 'image_not_an_image') return c.body('<!doctype html><title>Nothing here</title><p>No picture.', 200, webp);
    if (fault === 'image_large') return c.body(await (picture.large ??= large(image)), 200, { 'content-type': 'image/jpeg' });
    if (fault === 'image_huge') {
      c.header('content-type', 'image/webp');
      return stream(c, async (out) => {
        await out.write(image);
        const chunk = new Uint8Array(1024 * 1024);
        for (let sent = 0; sent < HUGE_BYTES && !out.aborted; sent += chunk.length) await out.write(chunk);
      });
    }
    return c.body(fault === 'image_truncated' ? image.subarray(0, image.length / 2) : image, 200, webp);
  });

  return { app, make, black, show, forget: (id) => kept.delete(id) };
}
