// The frame of the pages that a customer of the real Stripe would see: checkout, portal, invoice.

import { html } from 'hono/html';

export const frame = (title, body, { wide = false } = {}) => html`<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <meta name="robots" content="noindex" />
    <title>${title}</title>
    <link rel="icon" href="data:," />
    <style>
      :root {
        color-scheme: light dark;
        --ground: light-dark(#f5f6f8, #15181d); --surface: light-dark(#ffffff, #1e2228); --ink: light-dark(#1f2430, #eceef2);
        --quiet: light-dark(#5a6270, #a6aebb); --line: light-dark(#dfe3e8, #363c46); --field: light-dark(#8a93a1, #6f7886);
        --blue: light-dark(#0b5fc4, #8dbdff); --pay: #0b5fc4; --bad: light-dark(#b3200f, #ff9d90); --bad-ground: light-dark(#fdecea, #3b1d1a);
        --good: light-dark(#1b6b3a, #7fd3a0); --badge: light-dark(#fbe3c0, #4a3412); --on-badge: light-dark(#6b3a00, #ffd9a0);
      }
      * { box-sizing: border-box; }
      body { margin: 0; min-height: 100vh; background: var(--ground); color: var(--ink); font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
      main { max-width: ${wide ? '62rem' : '40rem'}; margin: 0 auto; padding: clamp(1.25rem, 5vw, 3.5rem) clamp(1rem, 4vw, 2rem) 3rem; }
      h1 { font-size: 1.15rem; margin: 0; } h2 { font-size: 1rem; margin: 0 0 .75rem; } p { margin: .35rem 0; }
      a { color: var(--blue); } .quiet { color: var(--quiet); } .big small { font-size: 1rem; font-weight: 400; } .big { font-size: 2.25rem; font-weight: 650; line-height: 1.15; margin: .5rem 0 1rem; }
      .badge { display: inline-block; padding: .1rem .5rem; border-radius: .3rem; background: var(--badge); color: var(--on-badge); font-size: .75rem; font-weight: 650; letter-spacing: .03em; white-space: nowrap; }
      .state { display: inline-block; padding: .05rem .55rem; border-radius: 1rem; border: 1px solid var(--line); font-size: .85rem; }
      .top { display: flex; flex-wrap: wrap; gap: .5rem .9rem; align-items: center; margin-bottom: 1.75rem; }
      .columns { display: grid; gap: 2rem clamp(2rem, 6vw, 5rem); } @media (min-width: 52rem) { .columns { grid-template-columns: 1fr 1.1fr; } }
      .card { background: var(--surface); border: 1px solid var(--line); border-radius: .75rem; padding: clamp(1rem, 4vw, 1.75rem); margin-bottom: 1.5rem; }
      ul.lines { list-style: none; margin: 1.25rem 0; padding: 0; } ul.lines li { display: flex; justify-content: space-between; gap: 1rem; padding: .6rem 0; } ul.lines li + li { border-top: 1px solid var(--line); }
      ul.lines li:last-child { font-weight: 650; } ul.lines small { display: block; font-weight: 400; color: var(--quiet); }
      label, legend { font-weight: 550; font-size: .92rem; } fieldset { border: 0; margin: 0 0 1.25rem; padding: 0; min-width: 0; } legend { padding: 0; margin-bottom: .35rem; }
      .field { margin-bottom: 1rem; } .pair { display: grid; grid-template-columns: 1fr 1fr; gap: 0 1rem; }
      input:not([type=radio]) { display: block; width: 100%; margin-top: .25rem; padding: .6rem .7rem; font: inherit; color: inherit; background: var(--surface); border: 1px solid var(--field); border-radius: .4rem; }
      input[aria-invalid=true] { border-color: var(--bad); border-width: 2px; }
      .choice { display: flex; gap: .6rem; align-items: baseline; padding: .65rem .8rem; border: 1px solid var(--line); } .choice + .choice { border-top: 0; } .choice label { font-weight: 450; flex: 1; }
      .choice:first-of-type { border-radius: .4rem .4rem 0 0; } .choice:last-of-type { border-radius: 0 0 .4rem .4rem; }
      .error { color: var(--bad); font-size: .9rem; margin: .25rem 0 0; } .problem { background: var(--bad-ground); color: var(--bad); padding: .75rem 1rem; border-radius: .4rem; margin: 0 0 1.25rem; } .done { color: var(--good); margin: 0 0 1.25rem; }
      button { font: inherit; cursor: pointer; border-radius: .45rem; padding: .55rem 1rem; border: 1px solid var(--field); background: none; color: inherit; } button.pay { width: 100%; padding: .8rem 1rem; border: 0; background: var(--pay); color: #fff; font-weight: 600; } button.pay[disabled] { opacity: .75; cursor: progress; }
      button.link { border: 0; padding: .2rem .3rem; color: var(--blue); text-decoration: underline; font-size: .92rem; text-align: left; }
      .row { display: flex; flex-wrap: wrap; gap: .6rem 1rem; justify-content: space-between; align-items: center; } .actions { display: flex; flex-wrap: wrap; gap: .6rem; margin-top: 1rem; } .actions form { margin: 0; }
      :focus-visible { outline: 3px solid var(--blue); outline-offset: 2px; } [hidden] { display: none !important; } details { margin-top: 1rem; } summary { cursor: pointer; color: var(--quiet); font-size: .92rem; } footer { color: var(--quiet); font-size: .85rem; margin-top: 2rem; }
      table { width: 100%; border-collapse: collapse; } th, td { text-align: left; vertical-align: top; padding: .5rem .75rem .5rem 0; border-bottom: 1px solid var(--line); } td.amount, th.amount { text-align: right; padding-right: 0; }
    </style>
  </head>
  <body>
    <main>${body}</main>
  </body>
</html>`;

export const testMode = html`<span class="badge">TEST MODE</span>`;
export const alike = html`<footer>The sandbox's Stripe. No money moves here.</footer>`;
