// Every line of every part in one stream, each with the aligned and coloured name of its part; and the last lines of a part,
// for when it dies.

const WIDTH = 17; // create-influencer
const COLOURS = [36, 33, 35, 32, 34, 96, 93, 95, 92, 94];
const KEPT = 15;

export class Logs {
  #write;
  #coloured;
  #last = new Map();

  // `write` takes whole lines.
  constructor({ write, coloured }) {
    this.#write = write;
    this.#coloured = coloured;
  }

  // A function that logs a line of this part.
  of(part) {
    if (!this.#last.has(part)) this.#last.set(part, []);
    const colour = COLOURS[[...this.#last.keys()].indexOf(part) % COLOURS.length];
    const name = `${part.padEnd(WIDTH)} │`;
    const prefix = this.#coloured ? `\x1b[${colour}m${name}\x1b[0m` : name;
    return (text) => {
      for (const line of `${text}`.split('\n')) {
        this.#last.set(part, [...this.#last.get(part).slice(1 - KEPT), line]);
        this.#write(`${prefix} ${line}\n`);
      }
    };
  }

  lastOf(part) {
    return this.#last.get(part) ?? [];
  }
}
