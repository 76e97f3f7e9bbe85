// The frame of the sandbox's own pages.

import { html } from 'hono/html';

export const page = (title, body) => html`<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <title>${title} · Sweetheart's sandbox</title>
    <link rel="icon" href="data:," />
    <style>
      :root { color-scheme: light dark; --line: light-dark(#e4dde1, #3a3238); --quiet: light-dark(#6d626a, #a99da6); --accent: light-dark(#8c2f56, #f09bbd); }
      body { max-width: 44rem; margin: 3rem auto; padding: 0 1.25rem; font: 1rem/1.6 system-ui, sans-serif; background: light-dark(#fdfbfc, #1b171a); color: light-dark(#2b2429, #efe8ec); }
      nav { display: flex; gap: 1.25rem; margin-bottom: 2.5rem; }
      a { color: var(--accent); }
      h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
      .quiet { color: var(--quiet); }
      article, li.switch { border: 1px solid var(--line); border-radius: .75rem; padding: 1rem 1.25rem; margin: 0 0 1rem; }
      article h2 { margin: 0; } article p { white-space: pre-line; overflow-wrap: anywhere; }
      ul.switches { list-style: none; padding: 0; } li.switch { padding: .4rem .5rem .4rem 1.25rem; margin-bottom: .5rem; }
      li.switch form { display: flex; gap: 1rem; align-items: center; justify-content: space-between; }
      button { font: inherit; padding: .4rem 1rem; border: 1px solid var(--accent); border-radius: 2rem; background: none; color: var(--accent); cursor: pointer; }
      .tools { display: flex; flex-wrap: wrap; gap: .5rem .75rem; align-items: center; margin-top: .5rem; } .tools form { max-width: 100%; display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; margin: 0; }
      .row { display: flex; flex-wrap: wrap; gap: .25rem 1rem; justify-content: space-between; align-items: baseline; }
      .state { border: 1px solid var(--line); border-radius: 1rem; padding: 0 .6rem; font-size: .875rem; } .problem { color: light-dark(#a3241f, #ffa79e); }
      h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; } ul.plain { list-style: none; padding: 0; margin: 0; } ul.plain > li { padding: .75rem 0; border-top: 1px solid var(--line); overflow-wrap: anywhere; }
      input, select { max-width: 100%; font: inherit; padding: .35rem .6rem; border: 1px solid var(--quiet); border-radius: .5rem; background: none; color: inherit; } input.amount { width: 6rem; } select option { background: light-dark(#fff, #1b171a); }
      summary { cursor: pointer; } pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .8125rem; } :focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
      table { width: 100%; border-collapse: collapse; } th, td { text-align: left; vertical-align: top; padding: .4rem .75rem .4rem 0; border-bottom: 1px solid var(--line); }
    </style>
  </head>
  <body>
    <nav><a href="/">Sandbox</a><a href="/inbox">Inbox</a><a href="/stripe">Stripe</a></nav>
    <main>${body}</main>
  </body>
</html>`;
