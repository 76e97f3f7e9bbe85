// Draws the picture that the stand-in for Replicate delivers: a stylised 2:3 portrait of a grown woman, as on a poster.
// The same prompt and seed give the same picture; words of the prompt choose light and hair, the seed everything else.

import { createHash } from 'node:crypto';
import sharp from 'sharp';

export const WIDTH = 832;
export const HEIGHT = 1248;

// sky: from top to bottom. glow: the disc or arch behind her. cloth: light to dark. leaf: the plants in front.
const LIGHTS = {
  dusk: { words: 'sunset|dusk|evening|warm|romantic|passion', sky: ['#f3c9b0', '#e59a8b', '#a8627a'], glow: '#fbe6c8', cloth: ['#7d3b5e', '#4c2144'], leaf: '#5a2b50' },
  dawn: { words: 'morning|dawn|gentle|sweet|dream', sky: ['#fbe9e2', '#f3cfc9', '#d9a5b4'], glow: '#fff8ee', cloth: ['#b97a8c', '#8a4f6b'], leaf: '#9a6079' },
  sea: { words: 'sea|ocean|calm|lisbon|beach|island|swim|sail', sky: ['#d8ece9', '#9fcfd0', '#4f8f9f'], glow: '#fdf4df', cloth: ['#2f6577', '#173d4f'], leaf: '#1f5160' },
  night: { words: 'night|moon|star|myster|dark|city|jazz', sky: ['#1d2450', '#3b3673', '#8a5b8f'], glow: '#f4e3c6', cloth: ['#2b2858', '#141433'], leaf: '#191a40' },
  meadow: { words: 'forest|garden|nature|green|hik|plant|curious', sky: ['#eef0da', '#c6d4ad', '#7f9f84'], glow: '#fff6da', cloth: ['#4e6f58', '#2b4638'], leaf: '#345543' },
  desert: { words: 'desert|travel|adventur|bold|wild|fire|energ', sky: ['#fbe3bd', '#f0b078', '#c8664d'], glow: '#fff1d2', cloth: ['#9a4530', '#652a28'], leaf: '#7a3530' },
  violet: { words: 'art|paint|music|poet|elegan|glam', sky: ['#ece3f4', '#c6b0dc', '#7c6aa6'], glow: '#fdf0e6', cloth: ['#5a4789', '#35285c'], leaf: '#43346f' },
};

const HAIR = {
  black: { words: 'black hair|raven', colours: ['#3a3342', '#17141f'] },
  brown: { words: 'brown hair|brunette|brown-haired', colours: ['#6f4a38', '#38231d'] },
  auburn: { words: 'auburn|chestnut', colours: ['#8e4632', '#4e211d'] },
  copper: { words: 'red hair|redhead|ginger|copper|red-haired', colours: ['#c8673c', '#82351f'] },
  honey: { words: 'blond|honey|golden hair', colours: ['#e0b673', '#a87438'] },
  silver: { rare: true, words: 'silver hair|white hair|grey hair|gray hair|platinum', colours: ['#e4dfe4', '#a49cab'] },
};

// lit, shaded, blush, lips
const SKINS = [
  ['#f6d7c3', '#e2ae97', '#e58f86', '#b9515a'],
  ['#efc6a6', '#d49b7b', '#d97f6d', '#a8464c'],
  ['#dca580', '#b97d5c', '#c4694f', '#96413f'],
  ['#b97f5b', '#915c40', '#a4533f', '#7c3033'],
  ['#8d5a41', '#663c2c', '#84402f', '#6b2a2c'],
];

const HAIRSTYLES = ['waves', 'bob', 'bun', 'straight', 'side'];
const BACKDROPS = ['sun', 'arch', 'rings', 'hills'];
const NECKLINES = ['scoop', 'collar', 'wrap'];

// Numbers in [0, 1) that the text alone decides (mulberry32 on a digest).
function numbersFrom(text) {
  let state = createHash('sha256').update(text).digest().readUInt32LE();
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

// A face seen from the front, a little longer than wide, around x = 416.
const FACE =
  'M416 338 C492 338 546 396 546 492 C546 560 528 610 492 652 C468 682 442 702 416 702 C390 702 364 682 340 652 C304 610 286 560 286 492 C286 396 340 338 416 338 Z';
// Neck and the skin down to the neckline.
const NECK =
  'M356 610 C360 680 360 716 348 748 C336 778 306 806 270 831 L300 990 L532 990 L562 831 C526 806 496 778 484 748 C472 716 472 680 476 610 Z';
const SHOULDERS = {
  scoop: 'M56 1290 C64 1080 96 950 176 880 C206 856 236 842 268 828 C290 930 346 970 416 970 C486 970 542 930 564 828 C596 842 626 856 656 880 C736 950 768 1080 776 1290 Z',
  collar: 'M56 1290 C64 1080 96 946 176 876 C222 836 296 806 336 768 C344 760 349 754 352 744 C372 776 396 788 416 788 C436 788 460 776 480 744 C483 754 488 760 496 768 C536 806 610 836 656 876 C736 946 768 1080 776 1290 Z',
  wrap: 'M56 1290 C64 1080 96 950 176 880 C206 856 236 842 268 828 L424 980 L564 828 C596 842 626 856 656 880 C736 950 768 1080 776 1290 Z',
};

function backdrop(kind, { glow, sky }) {
  switch (kind) {
    case 'sun':
      return `<circle cx="416" cy="470" r="318" fill="url(#glow)"/>`;
    case 'arch':
      return `<path d="M116 1248 V520 A300 300 0 0 1 716 520 V1248 Z" fill="url(#glow)"/>
        <path d="M92 1248 V520 A324 324 0 0 1 740 520 V1248" fill="none" stroke="${glow}" stroke-opacity=".55" stroke-width="3"/>`;
    case 'rings':
      return [250, 320, 392, 466, 542]
        .map((r, i) => `<circle cx="416" cy="480" r="${r}" fill="${glow}" fill-opacity="${0.26 - i * 0.04}"/>`)
        .reverse()
        .join('');
    default:
      return `<circle cx="590" cy="330" r="150" fill="url(#glow)"/>
        <path d="M-10 760 C150 640 270 650 420 740 S700 700 842 620 V1258 H-10 Z" fill="${sky[2]}" fill-opacity=".45"/>
        <path d="M-10 900 C180 790 330 830 480 880 S740 840 842 790 V1258 H-10 Z" fill="${sky[2]}" fill-opacity=".65"/>`;
  }
}

// What hangs behind her face, and what falls over her forehead.
function hair(style) {
  switch (style) {
    case 'bob':
      return {
        back: 'M416 262 C560 262 634 360 630 500 C628 600 640 680 606 742 C590 770 540 772 520 744 L312 744 C292 772 242 770 226 742 C192 680 204 600 202 500 C198 360 272 262 416 262 Z',
        front:
          'M286 560 C272 470 300 408 372 392 C440 402 512 398 546 470 C556 510 552 540 548 566 C566 600 580 660 560 720 C618 660 632 560 612 460 C588 340 520 278 416 278 C312 278 244 340 220 460 C200 560 214 660 272 720 C256 660 268 600 286 560 Z',
      };
    case 'bun':
      return {
        back: 'M416 276 C540 276 604 366 596 486 C592 560 560 620 520 640 L312 640 C272 620 240 560 236 486 C228 366 292 276 416 276 Z M416 158 C474 158 512 196 510 244 C506 288 468 308 416 308 C364 308 326 288 322 244 C320 196 358 158 416 158 Z',
        front:
          'M284 520 C276 420 330 372 416 366 C502 372 556 420 548 520 C560 540 566 560 562 590 C604 520 606 430 566 362 C532 304 478 280 416 280 C354 280 300 304 266 362 C226 430 228 520 270 590 C266 560 272 540 284 520 Z',
      };
    case 'straight':
      return {
        back: 'M416 256 C566 256 642 362 642 520 C642 700 664 860 676 1010 C620 1040 560 1030 524 1000 L308 1000 C272 1030 212 1040 156 1010 C168 860 190 700 190 520 C190 362 266 256 416 256 Z',
        front:
          'M288 540 C282 440 330 372 414 344 C500 372 550 440 544 540 C556 640 566 760 600 880 C646 760 640 600 626 480 C606 340 526 270 416 270 C306 270 226 340 206 480 C192 600 186 760 232 880 C266 760 276 640 288 540 Z',
      };
    case 'side':
      return {
        back: 'M416 258 C560 252 636 360 630 500 C626 590 600 640 566 660 L300 664 C310 760 300 900 250 1000 C196 1020 150 980 150 900 C152 800 200 700 200 560 C186 380 270 262 416 258 Z',
        front:
          'M546 530 C556 440 520 372 452 344 C400 420 330 430 292 520 C276 600 292 720 270 830 C252 900 226 950 196 980 C170 860 212 720 212 560 C206 380 290 272 430 272 C540 276 616 350 612 470 C608 540 590 590 562 622 C562 590 556 560 546 530 Z',
      };
    default:
      return {
        back: 'M416 254 C566 250 650 360 640 506 C636 600 704 670 694 790 C690 850 650 868 658 930 C664 1000 606 1040 548 1004 C510 980 520 900 520 820 L312 820 C312 900 322 980 284 1004 C226 1040 168 1000 174 930 C182 868 142 850 138 790 C128 670 196 600 192 506 C182 360 266 250 416 254 Z',
        front:
          'M290 530 C276 440 320 372 424 340 C520 366 558 440 546 536 C548 620 600 680 592 780 C588 830 560 850 566 900 C640 850 668 770 642 690 C616 620 636 560 624 470 C604 338 520 268 416 268 C306 268 228 340 208 470 C196 560 216 620 190 690 C164 770 192 850 266 900 C272 850 244 830 240 780 C232 680 284 620 290 530 Z',
      };
  }
}

// Quiet features: closed eyes with lashes, a nose that is only its shadow, a slight smile.
function features([, shade, blush, lips], ink, smile) {
  const eye = (x, side) => `
    <g transform="translate(${x} 506) scale(${side} 1)" fill="none" stroke="${ink}" stroke-linecap="round">
      <path d="M-36 -4 C-22 16 20 18 38 -4 C20 12 -20 11 -36 -4 Z" fill="${ink}" stroke-width="3"/>
      <path d="M20 11 L28 21 M30 4 L41 13 M37 -3 L49 2" stroke-width="3.5"/>
      <path d="M-32 -20 C-14 -32 16 -32 34 -20" stroke="${shade}" stroke-width="4"/>
      <path d="M-40 -52 C-16 -70 22 -70 50 -50 C22 -61 -14 -60 -40 -52 Z" fill="${ink}" fill-opacity=".8" stroke="none"/>
    </g>`;
  return `
    <ellipse cx="338" cy="566" rx="44" ry="30" fill="${blush}" fill-opacity=".34" filter="url(#soft)"/>
    <ellipse cx="494" cy="566" rx="44" ry="30" fill="${blush}" fill-opacity=".34" filter="url(#soft)"/>
    ${eye(350, -1)}${eye(482, 1)}
    <path d="M425 506 C433 546 446 570 437 583 C429 592 411 592 402 585" fill="none" stroke="${shade}" stroke-width="4.5" stroke-linecap="round"/>
    <path d="M368 ${632 - smile} C388 623 404 617 416 623 C428 617 444 623 464 ${632 - smile} C440 638 428 637 416 639 C404 637 392 638 368 ${632 - smile} Z" fill="${lips}"/>
    <path d="M368 ${632 - smile} C392 637 404 639 416 639 C428 639 440 637 464 ${632 - smile} C448 656 432 665 416 665 C400 665 384 656 368 ${632 - smile} Z" fill="${lips}" fill-opacity=".82"/>
    <path d="M400 652 C410 656 424 656 432 651" fill="none" stroke="#fff" stroke-opacity=".35" stroke-width="4" stroke-linecap="round"/>`;
}

function spray(x, y, angle, size, colour) {
  const leaves = Array.from({ length: 7 }, (_, i) => {
    const along = -40 - i * 46;
    const length = 78 - i * 6;
    const leaf = (side) =>
      `<path d="M0 ${along} C${side * length * 0.5} ${along - 34} ${side * length} ${along - 30} ${side * length * 1.1} ${along - 66} C${side * length * 0.5} ${along - 64} ${side * 10} ${along - 30} 0 ${along} Z"/>`;
    return leaf(1) + leaf(-1);
  });
  return `<g transform="translate(${x} ${y}) rotate(${angle}) scale(${size})" fill="${colour}" fill-opacity=".5">
    <path d="M-2 20 L0 -390 L2 20 Z"/>${leaves.join('')}</g>`;
}

function svg(prompt, seed) {
  const next = numbersFrom(`${seed}\n${prompt}`);
  const pick = (list) => list[Math.floor(next() * list.length)];
  const between = (low, high) => low + next() * (high - low);
  // Words decide where they can, the seed among what they leave open.
  const said = prompt.toLowerCase();
  const choose = (table) => {
    const all = Object.values(table);
    const named = all.filter(({ words }) => new RegExp(`\\b(${words})`).test(said));
    return pick(named.length > 0 ? named : all.filter(({ rare }) => !rare));
  };

  const light = choose(LIGHTS);
  const { colours: strands } = choose(HAIR);
  const skin = pick(SKINS);
  const { back, front } = hair(pick(HAIRSTYLES));
  const neckline = pick(NECKLINES);
  const tilt = between(-5, 5).toFixed(1);
  const ink = '#2a1c26';
  const gold = '#e9c27a';
  const strand = (dx) =>
    `<path d="M${416 + dx * 0.3} 284 C${416 + dx} 330 ${416 + dx * 1.45} 440 ${416 + dx * 1.42} 560" fill="none" stroke="${strands[0]}" stroke-opacity=".55" stroke-width="3"/>`;

  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}">
  <defs>
    <linearGradient id="sky" x2="0" y2="1">${light.sky.map((c, i) => `<stop offset="${i / 2}" stop-color="${c}"/>`).join('')}</linearGradient>
    <radialGradient id="glow" cy=".42"><stop offset="0" stop-color="${light.glow}"/><stop offset="1" stop-color="${light.glow}" stop-opacity=".62"/></radialGradient>
    <linearGradient id="hair" x1=".25" x2=".7" y2="1"><stop offset="0" stop-color="${strands[0]}"/><stop offset=".75" stop-color="${strands[1]}"/></linearGradient>
    <linearGradient id="behind" x2="0" y2="1"><stop offset="0" stop-color="${strands[1]}"/><stop offset=".6" stop-color="${strands[1]}"/><stop offset="1" stop-color="${strands[0]}"/></linearGradient>
    <linearGradient id="skin" x1=".2" x2=".9" y2=".6"><stop offset=".35" stop-color="${skin[0]}"/><stop offset="1" stop-color="${skin[1]}"/></linearGradient>
    <linearGradient id="neck" x2="0" y2="1"><stop offset=".18" stop-color="${skin[1]}"/><stop offset=".62" stop-color="${skin[0]}"/></linearGradient>
    <linearGradient id="cloth" x1=".2" x2=".8" y2="1"><stop offset="0" stop-color="${light.cloth[0]}"/><stop offset="1" stop-color="${light.cloth[1]}"/></linearGradient>
    <linearGradient id="floor" x2="0" y2="1"><stop offset=".7" stop-color="${light.leaf}" stop-opacity="0"/><stop offset="1" stop-color="${light.leaf}" stop-opacity=".55"/></linearGradient>
    <filter id="soft" x="-1" y="-1" width="3" height="3"><feGaussianBlur stdDeviation="12"/></filter>
    <clipPath id="face"><path d="${FACE}"/></clipPath>
    <clipPath id="fringe"><path d="${front}"/></clipPath>
  </defs>
  <rect width="100%" height="100%" fill="url(#sky)"/>
  ${backdrop(pick(BACKDROPS), light)}
  <g transform="translate(416 1260) scale(1.07) translate(-416 -1215)">
  <g transform="rotate(${tilt} 416 720)"><path d="${back}" fill="url(#behind)"/></g>
  <path d="${NECK}" fill="url(#neck)"/>
  <path d="M318 812 Q416 ${between(880, 930).toFixed(0)} 514 812" fill="none" stroke="${gold}" stroke-width="3.5"/>
  <path d="${SHOULDERS[neckline]}" fill="url(#cloth)"/>
  ${neckline === 'wrap' ? `<path d="M424 980 L300 1290 H262 L410 962 Z" fill="${light.cloth[1]}" fill-opacity=".6"/>` : ''}
  ${neckline === 'collar' ? `<path d="M352 746 C372 776 396 788 416 788 C436 788 460 776 480 746 C488 786 470 818 416 822 C362 818 344 786 352 746 Z" fill="${light.cloth[0]}"/>` : ''}
  <g transform="rotate(${tilt} 416 720)">
    <path d="${FACE}" fill="url(#skin)"/>
    <g clip-path="url(#face)"><path d="M286 380 C360 420 470 420 546 380 V330 H286 Z" fill="${skin[1]}" fill-opacity=".7" filter="url(#soft)"/></g>
    ${features(skin, ink, Math.round(between(2, 7)))}
    <path d="${front}" fill="url(#hair)"/>
    <g clip-path="url(#fringe)">${[-150, -118, 118, 150].map(strand).join('')}</g>
    ${[278, 554].map((x) => `<path d="M${x} 600 v22" stroke="${gold}" stroke-width="3"/><circle cx="${x}" cy="636" r="13" fill="${gold}"/>`).join('')}
  </g>
  </g>
  <rect width="100%" height="100%" fill="url(#floor)"/>
  ${spray(70, 1300, between(8, 20), between(0.9, 1.15), light.sky[1])}
  ${spray(765, 1310, -between(8, 20), between(0.8, 1.1), light.sky[1])}
</svg>`;
}

// The grain of film: the same on all, since it takes three times as long as the rest.
const GRAIN = `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}">
  <filter id="grain"><feTurbulence type="fractalNoise" baseFrequency=".8" numOctaves="2"/><feColorMatrix values="0 0 0 0 .5  0 0 0 0 .5  0 0 0 0 .5  0 0 0 .5 0"/></filter>
  <rect width="100%" height="100%" filter="url(#grain)" opacity=".13"/>
</svg>`;
let grain;

// The picture as webp.
export async function draw(prompt, seed) {
  grain ??= sharp(Buffer.from(GRAIN)).raw().toBuffer();
  const film = { input: await grain, raw: { width: WIDTH, height: HEIGHT, channels: 4 } };
  return sharp(Buffer.from(svg(prompt, seed))).composite([film]).webp({ quality: 88, effort: 1 }).toBuffer();
}
