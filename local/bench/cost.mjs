// What this costs in a month: prices of the vendors, times what a user is assumed to do, times what was measured. Prints the tables
// and writes them into docs/COST.md, between its markers.
//
// Our own share of a call is read from target/bench/functions.json, where `make bench` leaves it.

import { readFile, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { lives } from './lives.mjs';

const PAGE = new URL('../../docs/COST.md', import.meta.url);
const TEMPLATE = new URL('../../template.yaml', import.meta.url);
const BENCH = new URL('../../target/bench/functions.json', import.meta.url);

/* What is assumed */

// One user in the month in which she signs up, averages over all. Later months are cheaper: no sign-up, no character.
const USER = {
  'characters made': 1,
  'looks at the dashboard': 10,
  'questions of the dashboard while she waits for her character': 10,
  'visits to the studio': 5,
  'pictures asked for': 4,
  'pictures of her own uploaded': 0.5,
  'pictures shared': 1,
  'minutes before the grid': 15,
  'pages of the grid': 6,
  likes: 5,
  'visitors of the grid who are not signed in, two minutes each': 2,
  'users who pay 19 dollars': 0.05,
  'events of Stripe for each of those': 6,
};
const of = (words) => USER[Object.keys(USER).find((name) => name.startsWith(words))];

// web/grid.js asks every 4, 6, 9, 13 and then 15 seconds: for the first page, and, of who has scrolled, for the one in view.
const GRID_QUESTIONS_A_MINUTE = 4.3 * 1.5;
const VISITOR_MINUTES = 2;
// The busiest second of a month against its average one.
const PEAK = 5;
// Of what goes to browsers. A signed link carries the role's session token, which makes it as long as a page of text.
const BYTES = { link: 1_700, row: 400, answer: 3_000, thumb: 15_000, screen: 120_000, original: 200_000, upload: 3_500_000, copies: 600_000 };
// Round trips within the region or over the internet, until the answer is there.
const ROUND_TRIP_MS = { database: 15, s3: 25, sqs: 10, n8n: 150, stripe: 300, provider: 250, picture: 300 };
// Our own share of a call where it was not measured: what `make bench` allows at most (0.5 ms), and for pictures what the stack's log says.
const OWN_MS = 0.5;
const OWN_PICTURE_MS = { 'process-generation-job': 120, 'register-upload': 400 };
// A Lambda has one processor at 1,769 MB, and shares of it in proportion.
const ONE_PROCESSOR_MB = 1769;
// A cold start: Lambda's own work, ours (docs/BENCHMARKS.md), and the first connections' TLS. Billed since August 2025.
const COLD = { share: 0.02, ms: 150 };
// Workflows that one server of n8n has under way at once; each takes some 45 seconds, nearly all of it waiting.
const N8N_AT_ONCE = 100;
const WORKFLOW_S = 45;
// Of what Lambda itself logs of a call (platform.start, platform.report), and of API Gateway's line. CloudWatch adds 26 bytes to each.
const LOG_BYTES = { platform: 700, access: 340, overhead: 26 };
// Our own line of a call, as JSON: read off a function that was started with AWS_LAMBDA_LOG_FORMAT=JSON.
const OWN_LINE_BYTES = 510;
// What functions count themselves (EMF): each pair of a metric's name and a value of its dimension is a metric, and paid for in each
// hour in which it occurs. Some 90 are possible (docs/OPERATIONS.md, "Metrics"), more than half of them only when something fails.
// Usual are 24: CreditsMoved 6, UpstreamLatency 7 (not fal), Influencers… 3, StripeEvents 3, GenerationJobs… 2, and one each of
// N8nCallbacks, ReplicateWebhooks and BrokenInvariants. Where nobody is, check-invariants says 8 of them, and the database answers.
const EMF_SERIES = { usual: 24, idle: 9 };

/* What a user's month calls: how often, and whom each call asks. `upstream`: round trips. */

const gridQuestions = of('minutes') * GRID_QUESTIONS_A_MINUTE + of('pages') + of('visitors') * (1 + VISITOR_MINUTES * GRID_QUESTIONS_A_MINUTE);
const payers = of('users who pay');
const jobs = of('pictures asked');
const CALLS = {
  'create-influencer': { calls: of('characters') * 1.05, upstream: { database: 1, n8n: 1 } },
  'n8n-callback': { calls: of('characters') * 1.05, upstream: { database: 1, sqs: 1 } },
  'fetch-image': { calls: of('characters'), upstream: { database: 2, picture: 1, s3: 1 } },
  'get-dashboard': { calls: of('looks') + of('questions') + payers * 10, upstream: { database: 1 } },
  'get-credit-history': { calls: 1, upstream: { database: 1 } },
  'create-checkout-session': { calls: payers * 2, upstream: { database: 2, stripe: 4 } },
  'create-portal-session': { calls: payers * 0.5, upstream: { database: 1, stripe: 1 } },
  'stripe-webhook': { calls: payers * of('events'), upstream: { database: 1.5, stripe: 0.5 } },
  'create-upload': { calls: of('pictures of her own'), upstream: { database: 1 } },
  'register-upload': { calls: of('pictures of her own'), upstream: { database: 2, s3: 4 } },
  'get-generation-options': { calls: of('visits') + jobs, upstream: { database: 1 } },
  'create-generation-job': { calls: jobs, upstream: { database: 1, sqs: 1 } },
  'process-generation-job': { calls: jobs * 2.1, upstream: { database: 2, provider: 1, picture: 0.5, s3: 1.5 } },
  'replicate-webhook': { calls: jobs, upstream: { sqs: 1 } },
  'list-generation-jobs': { calls: of('visits') + jobs * 4 + 2, upstream: { database: 1 } },
  'get-generation-job': { calls: 1, upstream: { database: 1 } },
  'cancel-generation-job': { calls: jobs * 0.02, upstream: { database: 1 } },
  'retry-generation-job': { calls: jobs * 0.02, upstream: { database: 1, sqs: 1 } },
  'list-images': { calls: gridQuestions, upstream: { database: 1 } },
  'publish-image': { calls: of('pictures shared'), upstream: { database: 1 } },
  'like-image': { calls: of('likes'), upstream: { database: 1 } },
  'report-image': { calls: 0.01, upstream: { database: 1 } },
  'hide-image': { calls: 0.001, upstream: { database: 1 } },
  'export-account': { calls: 0.01, upstream: { database: 1, s3: 4 } },
  'delete-account': { calls: 0.02, upstream: { database: 1, sqs: 1 } },
  'erase-account': { calls: 0.02, upstream: { database: 3, s3: 8, stripe: 1 } },
};
// Those of the clock: a month has 43,800 minutes, whoever is there.
const CLOCK = { 'sweep-generation-jobs': 43_800 / 5, 'check-invariants': 43_800 / 60, 'clean-up': 5.3 };

/* What the vendors ask, in dollars, without AWS's free allowances and without discounts for quantity: the price, the page, and whether
   a copy of that page or a quotation from it was looked at; the others are as known. */

const SEEN = '2026-11-21';
const PRICES = {
  'Lambda, a million requests': [0.2, 'https://aws.amazon.com/lambda/pricing/', true],
  'Lambda on arm64, a million GB-seconds': [13.3334, 'https://aws.amazon.com/lambda/pricing/', true],
  'HTTP API, a million requests': [1, 'https://aws.amazon.com/api-gateway/pricing/', true],
  'SQS, a million requests': [0.4, 'https://aws.amazon.com/sqs/pricing/'],
  'S3, a GB kept for a month': [0.023, 'https://aws.amazon.com/s3/pricing/', true],
  'S3, a million PUTs': [5, 'https://aws.amazon.com/s3/pricing/', true],
  'S3, a million GETs': [0.4, 'https://aws.amazon.com/s3/pricing/', true],
  'AWS, a GB to the internet': [0.09, 'https://aws.amazon.com/s3/pricing/', true],
  'CloudWatch, a GB of logs': [0.5, 'https://aws.amazon.com/cloudwatch/pricing/', true],
  'CloudWatch, a metric in an alarm': [0.1, 'https://aws.amazon.com/cloudwatch/pricing/', true],
  'CloudWatch, a metric of our own': [0.3, 'https://aws.amazon.com/cloudwatch/pricing/', true],
  'CloudWatch, a dashboard': [3, 'https://aws.amazon.com/cloudwatch/pricing/', true],
  'X-Ray, a million traces': [5, 'https://aws.amazon.com/xray/pricing/', true],
  'Secrets Manager, a secret': [0.4, 'https://aws.amazon.com/secrets-manager/pricing/', true],
  'Supabase, the Pro plan': [25, 'https://supabase.com/pricing', true],
  'Supabase, the smallest second project': [10, 'https://supabase.com/docs/guides/platform/compute-and-disk', true],
  'Supabase, a GB of disk beyond 8': [0.125, 'https://supabase.com/docs/guides/platform/compute-and-disk', true],
  'Supabase, a GB to the internet beyond 250': [0.09, 'https://supabase.com/pricing', true],
  'Supabase, an active user beyond 100,000': [0.00325, 'https://supabase.com/pricing', true],
  'Replicate, a picture of flux-1.1-pro': [0.04, 'https://replicate.com/black-forest-labs/flux-1.1-pro'],
  'Stripe, of each payment': [0.3, 'https://stripe.com/pricing'],
  'Stripe, of each dollar, with Billing': [0.036, 'https://stripe.com/pricing'],
  "n8n, a small server of one's own": [20, 'https://docs.n8n.io/hosting/'],
  'Mail (SES), a thousand': [0.1, 'https://aws.amazon.com/ses/pricing/'],
};
const price = (name) => {
  if (!PRICES[name]) throw new Error(`no price for ${name}`);
  return PRICES[name][0];
};

// Supabase's sizes: dollars a month, processors, GB of memory that the database is recommended for at most, connections.
const COMPUTE = [
  { size: 'Micro', usd: 10, processors: 0.5, gb: 10 },
  { size: 'Small', usd: 15, processors: 1, gb: 50 },
  { size: 'Medium', usd: 60, processors: 1, gb: 100 },
  { size: 'Large', usd: 110, processors: 2, gb: 200 },
  { size: 'XL', usd: 210, processors: 4, gb: 500 },
  { size: '2XL', usd: 410, processors: 8, gb: 1_000 },
  { size: '4XL', usd: 960, processors: 16, gb: 2_000 },
  { size: '8XL', usd: 1_870, processors: 32, gb: 4_000 },
  { size: '12XL', usd: 2_800, processors: 48, gb: 6_000 },
  { size: '16XL', usd: 3_730, processors: 64, gb: 10_000 },
];

/* What is measured, or counted */

const template = await readFile(TEMPLATE, 'utf8');
const resources = new Map(
  template
    .split('\nResources:\n')[1]
    .split('\nOutputs:\n')[0]
    .split(/\n {2}(?=[A-Za-z0-9]+:\n)/)
    .map((block) => [block.trimStart().split(':')[0], block]),
);
const blockOf = (name) => [...resources.values()].find((block) => block.includes(`CodeUri: target/lambda/${name}/`));
for (const [, name] of template.matchAll(/CodeUri: target\/lambda\/([^/]+)\//g)) {
  if (!(name in CALLS) && !(name in CLOCK)) throw new Error(`${name} is in neither CALLS nor CLOCK of local/bench/cost.mjs: say how often it is called`);
}
const memoryOf = (name) => Number((blockOf(name).match(/MemorySize: (\d+)/) ?? template.match(/MemorySize: (\d+)/))[1]);
const isHttp = (name) => blockOf(name).includes('Type: HttpApi');
const inProd = (setting) => Number(template.match(new RegExp(`\\n {4}prod:\\n[^]*?${setting}: (\\d+)`))[1]);

const alarms = [...resources].filter(([, block]) => block.includes('Type: AWS::CloudWatch::Alarm\n'));
const metricsIn = ([, block]) => Math.max(1, block.split('MetricStat:').length - 1);
const sum = (numbers) => numbers.reduce((all, n) => all + n, 0);
const alarmMetrics = sum(alarms.map(metricsIn));
const newVersionMetrics = sum(alarms.filter(([id]) => id.endsWith('NewVersionAlarm')).map(metricsIn));
const queues = [...resources.values()].filter((block) => block.includes('Type: SQS\n')).length;

const bench = await readFile(BENCH, 'utf8').then((text) => JSON.parse(text), () => ({}));

// Of a function that is called in several ways, the longest.
function ownMs(name) {
  const measured = Object.entries(bench).filter(([way]) => way.split(',')[0] === name).map(([, figures]) => figures.own_p50_ms ?? 0);
  return Math.max(...measured) > 0 ? Math.max(...measured) : OWN_MS;
}

function msOf(name) {
  const { upstream } = CALLS[name];
  const waiting = sum(Object.entries(upstream).map(([whom, times]) => times * ROUND_TRIP_MS[whom]));
  const busy = ownMs(name) + (OWN_PICTURE_MS[name] ?? 0);
  return waiting + busy * Math.max(1, ONE_PROCESSOR_MB / memoryOf(name)) + COLD.share * COLD.ms;
}

// So many users live the month above.
const LIVES = 2_000;
const database = await lives(LIVES, { jobs, likes: of('likes'), uploads: of('pictures of her own'), payers, events: of('events') });
const rowBytes = sum(database.tables.map(({ bytes }) => bytes)) / LIVES;
const rpcMs = (rpc) => database.calls.find(({ call }) => call === rpc).ms;
// The RPC of each call; what is not named takes as long as the median one.
const RPC = {
  'list-images': 'grid',
  'get-dashboard': 'dashboard',
  'list-generation-jobs': 'generation_jobs_of',
  'create-generation-job': 'create_generation_job',
};
const medianMs = database.calls.map(({ ms }) => ms).sort((a, b) => a - b)[Math.floor(database.calls.length / 2)];
// Around an RPC: PostgREST, its gateway, the check of the token, the commit. On the same machine as the database.
const AROUND_RPC_MS = 1.5;

/* One user's month */

const names = Object.keys(CALLS);
const MONTH_S = 43_800 * 60;
const perUser = {
  calls: sum(names.map((name) => CALLS[name].calls)),
  requests: sum(names.filter(isHttp).map((name) => CALLS[name].calls)),
  gbSeconds: sum(names.map((name) => (CALLS[name].calls * msOf(name) * memoryOf(name)) / 1000 / 1024)),
  busySeconds: sum(names.map((name) => (CALLS[name].calls * msOf(name)) / 1000)),
  messages: of('characters') + of('pictures of her own') + 2.1 * jobs + 0.02,
  kept: jobs * (BYTES.thumb + BYTES.screen + BYTES.original) + of('characters') * BYTES.original + of('pictures of her own') * BYTES.copies,
  puts: jobs * 3 + of('characters') + of('pictures of her own') * 3,
  shownThumbs: (of('pages') + of('visitors')) * 24 + of('visits') * jobs,
  shownScreens: 10 + jobs * 2,
  // The link of her character is signed anew for each look, so that the browser fetches the picture again.
  shownOriginals: of('looks'),
  rpcs: sum(names.map((name) => CALLS[name].calls * (CALLS[name].upstream.database ?? 0))),
  databaseSeconds: sum(
    names.map(
      (name) => (CALLS[name].calls * (CALLS[name].upstream.database ?? 0) * ((RPC[name] ? rpcMs(RPC[name]) : medianMs) + AROUND_RPC_MS)) / 1000,
    ),
  ),
  predictions: jobs * 1.02 + of('characters') * 1.05,
};
const gridBytes = CALLS['list-images'].calls * 24 * (2 * BYTES.link + BYTES.row);
const answersGb = (gridBytes + (perUser.requests - CALLS['list-images'].calls) * BYTES.answer) / 1e9;
const picturesGb = (perUser.shownThumbs * BYTES.thumb + perUser.shownScreens * BYTES.screen + perUser.shownOriginals * BYTES.original) / 1e9;
const logGb =
  (perUser.calls * (OWN_LINE_BYTES + LOG_BYTES.platform + 3 * LOG_BYTES.overhead) + perUser.requests * (LOG_BYTES.access + LOG_BYTES.overhead)) / 1e9;
const databaseGb = (perUser.rpcs * BYTES.row + CALLS['list-images'].calls * 24 * BYTES.row) / 1e9;
const revenue = payers * 19;

/* The bill of a month with so many users */

const peakPerSecond = (aMonth) => (aMonth * PEAK) / MONTH_S;
// X-Ray takes the first call of a second and a twentieth of the others.
const tracesOf = (calls) => Math.min(calls, MONTH_S + (calls - MONTH_S) / 20);

function computeFor(users) {
  const processors = peakPerSecond(users * perUser.databaseSeconds);
  const gb = (12 * users * rowBytes) / 1e9;
  return COMPUTE.find((one) => one.processors >= processors && one.gb >= gb) ?? COMPUTE.at(-1);
}

// [service, what, dollars that do not depend on users, dollars for so many users].
function bill(users) {
  const beyond = (amount, included) => Math.max(0, amount - included);
  const clockCalls = sum(Object.values(CLOCK));
  const clockGbSeconds = sum(Object.entries(CLOCK).map(([name, calls]) => (calls * 0.3 * memoryOf(name)) / 1024));
  const lambda = (calls, gbSeconds) =>
    (calls / 1e6) * price('Lambda, a million requests') + (gbSeconds / 1e6) * price('Lambda on arm64, a million GB-seconds');
  const compute = computeFor(users);
  return [
    ['Pictures (Replicate)', 0, users * perUser.predictions * price('Replicate, a picture of flux-1.1-pro')],
    ['Stripe', 0, users * (revenue * price('Stripe, of each dollar, with Billing') + payers * price('Stripe, of each payment'))],
    ['Lambda', lambda(clockCalls, clockGbSeconds), lambda(users * perUser.calls, users * perUser.gbSeconds)],
    ['API Gateway', 0, ((users * perUser.requests) / 1e6) * price('HTTP API, a million requests')],
    ['Answers to browsers', 0, users * answersGb * price('AWS, a GB to the internet')],
    ['Pictures to browsers', 0, users * picturesGb * price('AWS, a GB to the internet')],
    [
      'S3',
      0,
      ((users * perUser.kept) / 1e9) * price('S3, a GB kept for a month') +
        ((users * perUser.puts) / 1e6) * price('S3, a million PUTs') +
        ((users * (perUser.shownThumbs + perUser.shownScreens + perUser.shownOriginals)) / 1e6) * price('S3, a million GETs'),
    ],
    // Lambda asks each queue five at a time, for 20 seconds, also when nothing is in it.
    [
      'SQS',
      ((queues * 5 * 3 * 43_800) / 1e6) * price('SQS, a million requests'),
      ((users * perUser.messages * 3) / 1e6) * price('SQS, a million requests'),
    ],
    ['CloudWatch, alarms', alarmMetrics * price('CloudWatch, a metric in an alarm'), 0],
    ['CloudWatch, dashboard and metrics', price('CloudWatch, a dashboard') + EMF_SERIES.usual * price('CloudWatch, a metric of our own'), 0],
    ['CloudWatch, logs', ((clockCalls * 1500) / 1e9) * price('CloudWatch, a GB of logs'), users * logGb * price('CloudWatch, a GB of logs')],
    ['X-Ray', 0, (tracesOf(users * perUser.calls) / 1e6) * price('X-Ray, a million traces')],
    ['Secrets Manager', price('Secrets Manager, a secret'), 0],
    [
      'Supabase',
      // The plan's fee has credits for one Micro in it.
      price('Supabase, the Pro plan') + compute.usd - COMPUTE[0].usd,
      beyond((users * rowBytes) / 1e9, 8) * price('Supabase, a GB of disk beyond 8') +
        beyond(users * databaseGb, 250) * price('Supabase, a GB to the internet beyond 250') +
        beyond(users, 100_000) * price('Supabase, an active user beyond 100,000'),
    ],
    ['n8n', price("n8n, a small server of one's own") * Math.ceil(peakPerSecond(users * of('characters') * WORKFLOW_S) / N8N_AT_ONCE), 0],
    ['Mail', 0, (users / 1000) * price('Mail (SES), a thousand')],
  ];
}

/* What gives way first: how many users a month it takes until the busiest second needs more than there is */

const studioMinutes = of('visits') * 5;
const workers = (setting, name) => inProd(setting) / peakPerSecond((CALLS[name].calls * msOf(name)) / 1000);
const LIMITS = [
  [
    'Mails of Supabase Auth: 30 an hour, until you raise it',
    (30 * 730) / PEAK / of('characters'),
    'Authentication, Rate Limits in the project. Nothing is deployed',
  ],
  [
    `The API's own bound, \`ApiRequestsPerSecond\`: ${inProd('ApiRequestsPerSecond')} a second`,
    inProd('ApiRequestsPerSecond') / peakPerSecond(perUser.requests),
    'raise it in the template, with `ApiBurst`; and see "The grid asks most" above',
  ],
  [
    'Realtime on the Pro plan: 500 open pages',
    500 / peakPerSecond(studioMinutes * 60),
    'lift the spend cap: 10,000. Who is refused asks every few seconds instead',
  ],
  [
    'Supabase Micro: the 10 GB that it is recommended for, after a year of so many',
    10e9 / (12 * rowBytes),
    'the next size: two minutes of downtime each',
  ],
  ['Supabase Micro: half a processor, for long', 0.5 / peakPerSecond(perUser.databaseSeconds), 'the same. Further up, a read replica for the grid'],
  [
    `\`GenerationWorkers\`: ${inProd('GenerationWorkers')}`,
    workers('GenerationWorkers', 'process-generation-job'),
    'raise it; the queue only grows meanwhile, and `generation-queue-age` rings',
  ],
  [`\`ImageWorkers\`: ${inProd('ImageWorkers')}`, workers('ImageWorkers', 'fetch-image'), 'raise it'],
  [
    `One n8n: ${N8N_AT_ONCE} workflows at once`,
    N8N_AT_ONCE / peakPerSecond(of('characters') * WORKFLOW_S),
    'n8n in queue mode with more workers; or let process-generation-job make the first picture, too',
  ],
  [
    'Replicate: 600 predictions a minute',
    10 / peakPerSecond(perUser.predictions),
    'ask Replicate for more. Until then jobs wait in the queue: 429 is tried again',
  ],
  ['Lambda: 1,000 at once in an account', 1000 / peakPerSecond(perUser.busySeconds), 'a larger quota, which is for the asking'],
  [
    '`CallbackConcurrency`: 20 of replicate-webhook',
    20 / peakPerSecond((CALLS['replicate-webhook'].calls * msOf('replicate-webhook')) / 1000),
    'raise it. Replicate sends again, and the sweeper asks',
  ],
  ['API Gateway: 10,000 requests a second in an account', 10_000 / peakPerSecond(perUser.requests), 'a larger quota, or a second region'],
  [
    'Stripe: 25 requests a second to one endpoint',
    25 / peakPerSecond(payers * of('events') * 0.5),
    'nothing at first: the webhook answers 5xx and Stripe sends again. Then ask Stripe for more',
  ],
  [
    'Supabase 16XL, its largest: 64 processors',
    64 / peakPerSecond(perUser.databaseSeconds),
    'more than one database: users apart by their id, the grid in one of its own',
  ],
  [
    'Likes of one picture: some 500 a second, each holds its row until the commit',
    500 / peakPerSecond(of('likes')),
    'if all liked the same one. Count likes later: a row for each like, summed up every few seconds',
  ],
  [
    'S3: 3,500 PUTs a second below one prefix',
    3500 / peakPerSecond(perUser.puts),
    "nothing: a user's id comes second in each key, and S3 divides there by itself",
  ],
].sort(([, a], [, b]) => a - b);

/* The page */

const whole = (n) => Math.round(n).toLocaleString('en');
// Prose, in lines as long as the page's.
const wrapped = (text) => text.replace(/(.{1,130})(?: |$)/g, '$1\n').trim();
const rough = (n) => (n < 10 ? String(Number(n.toPrecision(2))) : whole(Number(n.toPrecision(2))));
const usd = (n) => (n >= 100 ? whole(n) : n >= 0.995 ? n.toFixed(1) : n >= 0.01 ? n.toFixed(2) : n > 0 ? '< 0.01' : '0');
const table = (head, rows) =>
  [head, head.map((cell, i) => (i === 0 || /^(Page|What then|What|Compared)$/.test(cell) ? '---' : '---:')), ...rows]
    .map((row) => `| ${row.join(' | ')} |`)
    .join('\n');

const SCALES = [1_000, 100_000, 10_000_000];
const bills = SCALES.map(bill);
const thousand = bills[0];
const variable = sum(thousand.map(([, , dollars]) => dollars));
const vendors = new Set(['Pictures (Replicate)', 'Stripe']);
const sections = {
  machine: `${LIVES.toLocaleString('en')} users, ${new Date().toISOString().slice(0, 10)}, ${cpus().length} processors (${process.arch}).`,
  assumptions: table(
    ['One user, one month', 'How often'],
    Object.entries(USER).map(([what, times]) => [what, times]),
  ),
  fixed: table(
    ['Service', 'Dollars a month, whoever comes'],
    [
      ...thousand.filter(([, fixed]) => fixed > 0).map(([service, fixed]) => [service, usd(fixed)]),
      ['**Together, for prod**', `**${usd(sum(thousand.map(([, fixed]) => fixed)))}**`],
      [
        '**For dev beside it**, which needs a second project of Supabase, no second n8n and no alarms on new versions',
        `**${usd(
          sum(thousand.filter(([service]) => !['Supabase', 'n8n'].includes(service)).map(([, fixed]) => fixed)) +
            price('Supabase, the smallest second project') -
            newVersionMetrics * price('CloudWatch, a metric in an alarm') -
            (EMF_SERIES.usual - EMF_SERIES.idle) * price('CloudWatch, a metric of our own'),
        )}**`,
      ],
    ],
  ),
  alarms: wrapped(
    `${alarms.length} alarms look at ${alarmMetrics} metrics, ${usd(alarmMetrics * price('CloudWatch, a metric in an alarm'))} dollars a month on prod. ${newVersionMetrics} of them are the \`…-new-version\` alarms, which dev has none of: ${usd((alarmMetrics - newVersionMetrics) * price('CloudWatch, a metric in an alarm'))} dollars there.`,
  ),
  even: `Of 1,000 users ${Math.ceil((sum(thousand.map(([, fixed, dollars]) => fixed + dollars)) - thousand.find(([name]) => name === 'Stripe')[2]) / (19 * (1 - price('Stripe, of each dollar, with Billing')) - price('Stripe, of each payment')))} have to pay 19 dollars for prod to pay for itself.`,
  grid: wrapped(
    `Of ${whole(1000 * perUser.requests)} requests to the API that 1,000 users make in a month, ${whole(1000 * CALLS['list-images'].calls)} are \`GET /images\`, and nearly all of those come from pages that are open and ask again. Each answer has some ${whole((24 * (2 * BYTES.link + BYTES.row)) / 1000)} KB, ${whole((24 * 2 * BYTES.link) / 1000)} of them signatures.`,
  ),
  thousand: table(
    ['Service', 'Dollars for 1,000 users', 'Share', 'Share without Replicate and Stripe'],
    [
      ...[...thousand]
        .filter(([, , dollars]) => dollars > 0)
        .sort(([, , a], [, , b]) => b - a)
        .map(([service, , dollars]) => {
          const share = (all) => `${((100 * dollars) / all).toFixed(1)} %`;
          return [
            service,
            usd(dollars),
            share(variable),
            vendors.has(service) ? '' : share(sum(thousand.filter(([name]) => !vendors.has(name)).map(([, , own]) => own))),
          ];
        }),
      ['**Together**', `**${usd(variable)}**`, '', ''],
      [`**They pay**, ${whole(1000 * payers)} of them 19 dollars`, `**${usd(1000 * revenue)}**`, '', ''],
    ],
  ),
  functions: table(
    ['Function', 'MB', 'Calls for 1,000 users', 'ms each', 'Dollars'],
    names
      .map((name) => [name, CALLS[name].calls * 1000, msOf(name), memoryOf(name)])
      .map(([name, calls, ms, mb]) => [
        name,
        mb,
        calls,
        ms,
        (calls / 1e6) * price('Lambda, a million requests') +
          ((calls * ms * mb) / 1000 / 1024 / 1e6) * price('Lambda on arm64, a million GB-seconds'),
      ])
      .sort((a, b) => b[4] - a[4])
      .filter(([, , calls]) => calls >= 100)
      .map(([name, mb, calls, ms, dollars]) => [name, mb, whole(calls), whole(ms), usd(dollars)]),
  ),
  scales: table(
    ['Service', ...SCALES.map((users) => `${whole(users)} users`)],
    [
      ...thousand.map(([service], i) => [service, ...bills.map((one) => usd(one[i][1] + one[i][2]))]),
      ['**Together**', ...bills.map((one) => `**${usd(sum(one.map(([, fixed, dollars]) => fixed + dollars)))}**`)],
      ['for each user', ...bills.map((one, i) => (sum(one.map(([, fixed, dollars]) => fixed + dollars)) / SCALES[i]).toFixed(2))],
      ['They pay', ...SCALES.map((users) => usd(users * revenue))],
      ["Supabase's size", ...SCALES.map((users) => computeFor(users).size)],
      [
        'Requests a second, on average and at the peak',
        ...SCALES.map((users) => `${rough((users * perUser.requests) / MONTH_S)}, ${rough(peakPerSecond(users * perUser.requests))}`),
      ],
      ['Lambdas at once, at the peak', ...SCALES.map((users) => rough(peakPerSecond(users * perUser.busySeconds)))],
      ['Pictures ordered a second, at the peak', ...SCALES.map((users) => rough(peakPerSecond(users * perUser.predictions)))],
    ],
  ),
  limits: table(
    ['What gives way', 'At so many users a month', 'What then'],
    LIMITS.map(([what, users, then]) => [what, rough(users), then]),
  ),
  tables: table(
    ['Table', 'Bytes a row', ...SCALES.map((users) => `GB a month, ${whole(users)} users`)],
    [
      ...database.tables.map(({ table: name, rows, bytes }) => [
        `\`${name}\``,
        whole(bytes / rows),
        ...SCALES.map((users) => rough((users * bytes) / LIVES / 1e9)),
      ]),
      ['**Together**', '', ...SCALES.map((users) => `**${rough((users * rowBytes) / 1e9)}**`)],
    ],
  ),
  rpcs: table(
    ['RPC', 'ms'],
    database.calls.map(({ call, ms }) => [call, ms.toFixed(2)]),
  ),
  prices: `As known on ${SEEN}.\n\n${table(
    ['What', 'Dollars', 'Page', 'Compared'],
    Object.entries(PRICES).map(([what, [dollars, page, seen]]) => [what, dollars, `<${page}>`, seen ? 'yes' : 'no']),
  )}`,
  assumed: table(
    ['What', 'How much'],
    [
      ...Object.entries(ROUND_TRIP_MS).map(([whom, ms]) => [`a round trip to ${whom === 'picture' ? "the provider's pictures" : whom}`, `${ms} ms`]),
      ['our own share of a call, on a whole processor', Object.keys(bench).length > 0 ? 'measured by `make bench`' : `${OWN_MS} ms: what \`make bench\` allows`],
      ...Object.entries(OWN_PICTURE_MS).map(([name, ms]) => [`and for the pictures of ${name}`, `${ms} ms`]),
      ['a cold start', `${COLD.ms} ms, ${100 * COLD.share} % of the calls`],
      ['the busiest second of a month', `${PEAK} times the average one`],
      ['a signed link; a row of the grid; another answer', `${BYTES.link}, ${BYTES.row}, ${whole(BYTES.answer)} bytes`],
      [
        'a small picture; one for the screen; an original; the copies of an upload',
        `${[BYTES.thumb, BYTES.screen, BYTES.original, BYTES.copies].map((n) => `${n / 1000} KB`).join(', ')}`,
      ],
      ["log lines of a call, ours and Lambda's; of a request, API Gateway's", `${OWN_LINE_BYTES} + ${LOG_BYTES.platform}; ${LOG_BYTES.access} bytes`],
      ['an event of Stripe', '4 KB'],
      ["PostgREST and its gateway around an RPC, on the database's machine", `${AROUND_RPC_MS} ms`],
    ],
  ),
};

let page = await readFile(PAGE, 'utf8');
for (const [name, text] of Object.entries(sections)) {
  const [begin, end] = [`<!-- cost: ${name} -->`, '<!-- end -->'];
  const at = page.indexOf(begin);
  if (at < 0) throw new Error(`docs/COST.md has no ${begin}`);
  page = `${page.slice(0, at + begin.length)}\n${text}\n${page.slice(page.indexOf(end, at))}`;
  console.log(`${name}\n\n${text}\n`);
}
await writeFile(PAGE, page);
