// Everything that the sandbox's Stripe knows: its objects in the newest API's shape, in the order in which they were made.

import { randomInt } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';

const SAVE_AFTER_MS = 200;
const LETTERS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

export const newId = (prefix, length = 24) => `${prefix}_${Array.from({ length }, () => LETTERS[randomInt(LETTERS.length)]).join('')}`;
export const now = () => Math.floor(Date.now() / 1000);

export class Store {
  #kinds = new Map();
  #file;
  #log;
  #timer;
  #saving = Promise.resolve();
  // Of every event, how its deliveries went (webhooks.mjs).
  deliveries = new Map();
  // What requests with an Idempotency-Key were answered (api.mjs).
  answers = new Map();

  // `file` keeps it over a restart; without one it goes with the process.
  static async open(file, log) {
    const store = new Store();
    store.#file = file;
    store.#log = log;
    try {
      const { objects, deliveries, answers } = JSON.parse(file ? await readFile(file, 'utf8') : '{"objects":[]}');
      objects.forEach((object) => store.add(object));
      store.deliveries = new Map(deliveries);
      store.answers = new Map(answers);
    } catch (error) {
      if (error.code !== 'ENOENT') throw new Error(`${file} cannot be read: ${error.message}. Remove it, and Stripe knows nobody any more.`);
    }
    return store;
  }

  #kind(name) {
    if (!this.#kinds.has(name)) this.#kinds.set(name, new Map());
    return this.#kinds.get(name);
  }

  add(object) {
    this.#kind(object.object).set(object.id, object);
    return object;
  }

  get(kind, id) {
    return this.#kind(kind).get(id);
  }

  // Whatever has this id.
  find(id) {
    for (const kind of this.#kinds.values()) if (kind.has(id)) return kind.get(id);
    return undefined;
  }

  // The oldest first.
  all(kind, wanted = () => true) {
    return [...this.#kind(kind).values()].filter(wanted);
  }

  // Something has changed.
  touch() {
    if (this.#file) this.#timer ??= setTimeout(() => this.save(), SAVE_AFTER_MS);
  }

  save() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (!this.#file) return this.#saving;
    const objects = [...this.#kinds.values()].flatMap((kind) => [...kind.values()]);
    const state = JSON.stringify({ objects, deliveries: [...this.deliveries], answers: [...this.answers] });
    // One writer at a time, and never half a file.
    const write = async () => {
      await mkdir(dirname(this.#file), { recursive: true });
      await writeFile(`${this.#file}.new`, state, { mode: 0o600 });
      await rename(`${this.#file}.new`, this.#file);
    };
    this.#saving = this.#saving.then(write).catch((error) => this.#log(`${this.#file} could not be written: ${error.message}`));
    return this.#saving;
  }
}
