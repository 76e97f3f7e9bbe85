// Paints a blurhash (https://blurha.sh): what a picture roughly looks like, in some thirty characters.

const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~';

const read = (text) => [...text].reduce((value, digit) => value * 83 + digits.indexOf(digit), 0);

const toLinear = (byte) => (byte <= 10.31475 ? byte / 3294.6 : ((byte / 255 + 0.055) / 1.055) ** 2.4);
const toByte = (linear) => 255 * (linear <= 0.0031308 ? linear * 12.92 : 1.055 * linear ** (1 / 2.4) - 0.055);
const signedSquare = (value) => Math.sign(value) * value ** 2;

// Each colour component: how strong, for each cosine across and down.
function componentsOf(hash) {
  const across = (read(hash[0]) % 9) + 1;
  const down = Math.floor(read(hash[0]) / 9) + 1;
  if (hash.length !== 4 + 2 * across * down) throw new RangeError(`no blurhash: ${hash}`);
  const most = (read(hash[1]) + 1) / 166;
  const average = read(hash.slice(2, 6));
  const colours = [[average >> 16, (average >> 8) & 255, average & 255].map(toLinear)];
  for (let at = 6; at < hash.length; at += 2) {
    const value = read(hash.slice(at, at + 2));
    colours.push([Math.floor(value / 361), Math.floor(value / 19) % 19, value % 19].map((part) => signedSquare((part - 9) / 9) * most));
  }
  return { across, colours };
}

// Fills the canvas; a hash that is none leaves it as it is.
export function paint(canvas, hash) {
  let components;
  try {
    components = componentsOf(hash);
  } catch {
    return;
  }
  const { across, colours } = components;
  const { width, height } = canvas;
  const context = canvas.getContext('2d');
  const image = context.createImageData(width, height);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const at = 4 * (y * width + x);
      for (let channel = 0; channel < 3; channel += 1) {
        const wave = (n) => Math.cos((Math.PI * x * (n % across)) / width) * Math.cos((Math.PI * y * Math.floor(n / across)) / height);
        image.data[at + channel] = toByte(colours.reduce((sum, colour, n) => sum + colour[channel] * wave(n), 0));
      }
      image.data[at + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
}
