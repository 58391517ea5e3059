// The lock screen: shows what the sandbox tells it. Whatever comes from a request is text; only the cards, which the
// sandbox draws itself, are markup.

const CARDS_AT_ONCE = 50;
const LINES = 200;
const BANNER_SECONDS = 6;
const RETRY_SECONDS = 2;

/** @typedef {{key: string, svg: string | null, started_at: number, removed_at: number | null}} Card */
/** @typedef {{number: number, time: string, method: string, stream_key: string, status: number | null,
 *             operation: string | null, message: string | null, changed: string[],
 *             alert: {title?: string, body?: string} | null}} Line */
/** @typedef {{now: number, fresh: boolean, live: number, cards: Card[], lines: Line[]}} News */

const byId = (/** @type {string} */ id) => document.getElementById(id);
const stack = byId("stack");
const log = byId("log");

/** @type {Map<string, Card>} */
const cards = new Map();
/** @type {Map<string, HTMLElement>} The cards that are on the page. */
const shown = new Map();
let most = CARDS_AT_ONCE;
let serverIsAhead = 0; // seconds

// -- words and markup --

/** An element whose content is text. */
function element(name, className = "", text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

/** The sandbox's drawing as an element. */
function drawing(svg) {
  return document.importNode(new DOMParser().parseFromString(svg, "image/svg+xml").documentElement, true);
}

/** 4:05 or 1:04:05, as the sandbox's own drawing has it. */
function digits(seconds) {
  const two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(seconds / 3600), minutes = Math.floor(seconds / 60) % 60;
  return (hours ? `${hours}:${two(minutes)}` : `${minutes}`) + `:${two(seconds % 60)}`;
}

const serverNow = () => Date.now() / 1000 + serverIsAhead;

// -- the stack --

/** Take up what is new of the cards. */
function take(/** @type {Card[]} */ news) {
  let rearranged = false;
  for (const card of news) {
    const before = cards.get(card.key);
    if (before?.started_at !== card.started_at) rearranged = true;
    if (card.svg === null) cards.delete(card.key);
    else {
      cards.set(card.key, card);
      if (shown.has(card.key)) redraw(card);
    }
  }
  if (rearranged) arrange();
}

/** Let the page show the newest cards in their order. */
function arrange() {
  const wanted = [...cards.values()].sort((a, b) => b.started_at - a.started_at);
  const top = wanted.slice(0, most);
  const keys = new Set(top.map((card) => card.key));
  for (const [key, item] of shown) {
    if (keys.has(key)) continue;
    shown.delete(key);
    leave(item, cards.has(key));
  }
  let place = stack.firstElementChild;
  for (const card of top) {
    const item = shown.get(card.key) ?? add(card);
    while (place?.classList.contains("leaving")) place = place.nextElementSibling;
    if (item === place) place = place.nextElementSibling;
    else stack.insertBefore(item, place);
  }
  byId("nothing").hidden = cards.size > 0;
  const rest = cards.size - top.length;
  byId("more").hidden = rest === 0;
  byId("more").textContent = `Show more (${rest} not shown)`;
}

function add(/** @type {Card} */ card) {
  const item = element("li");
  const about = element("div", "about");
  about.append(element("span", "key", card.key), element("span", "end"));
  item.append(about);
  shown.set(card.key, item);
  redraw(card);
  return item;
}

function redraw(/** @type {Card} */ card) {
  const item = shown.get(card.key);
  item.querySelector("svg")?.remove();
  item.prepend(drawing(card.svg));
  count(item, card);
}

/** Off the page; at once if only its place is gone. */
function leave(/** @type {HTMLElement} */ item, atOnce) {
  if (atOnce || matchMedia("(prefers-reduced-motion: reduce)").matches) item.remove();
  else {
    item.classList.add("leaving");
    item.addEventListener("animationend", () => item.remove());
    setTimeout(() => item.remove(), 1000); // no animation runs where nothing is visible
  }
}

// -- what goes on without news --

function tick() {
  const now = new Date();
  setText(byId("time"), now.toLocaleTimeString([], { hour: "numeric", minute: "2-digit", hour12: false }));
  setText(byId("date"), now.toLocaleDateString([], { weekday: "long", month: "long", day: "numeric" }));
  for (const [key, item] of shown) count(item, cards.get(key));
  const over = [...cards.values()].filter((card) => card.removed_at !== null && card.removed_at <= serverNow());
  if (over.length) {
    for (const card of over) cards.delete(card.key);
    arrange();
  }
}

/** Writing the same text again would cost a layout. */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function count(/** @type {HTMLElement} */ item, /** @type {Card} */ card) {
  const left = card.removed_at === null ? null : Math.max(0, Math.ceil(card.removed_at - serverNow()));
  setText(item.querySelector(".end"), left === null ? "" : `Ended · iOS removes it in ${digits(left)}`);
  const svg = item.querySelector("svg[data-counts]");
  if (!svg) return;
  const down = svg.dataset.counts === "down";
  const duration = Number(svg.dataset.duration ?? Infinity);
  const elapsed = Math.min(Math.max(0, serverNow() - Number(svg.dataset.began)), duration);
  const seconds = down ? duration - elapsed : elapsed;
  setText(svg.querySelector(".timer-digits"), digits(down ? Math.ceil(seconds) : Math.floor(seconds)));
  const bar = svg.querySelector(".timer-bar");
  bar?.setAttribute("width", (Number(bar.dataset.full) * (seconds / duration)).toFixed(1));
}

// -- the request log --

function write(/** @type {Line[]} */ lines) {
  if (lines.length === 0) return;
  byId("no-requests").hidden = true;
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 20;
  log.append(...lines.map(row));
  while (log.childElementCount > LINES) log.firstElementChild.remove();
  // Who reads something further up is left there.
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function row(/** @type {Line} */ line) {
  const summary = element("summary");
  const refused = line.operation === null;
  const operation = line.operation ?? `${line.method} ${line.status ?? "dropped"}`;
  summary.append(
    element("span", "time-of", new Date(line.time).toLocaleTimeString([], { hour12: false })),
    element("span", `operation ${refused ? "refused" : operation === "ended" ? "ended" : ""}`, operation),
    element("span", "stream", line.stream_key),
    element("span", "changed", line.changed.join(", ") || line.message || (operation === "ended" ? "as it was" : "nothing changed")),
  );
  const details = element("details");
  details.append(summary);
  details.addEventListener("toggle", () => show(details, line), { once: true });
  const item = element("li");
  item.append(details);
  return item;
}

/** Fetch the whole request and show it. */
async function show(/** @type {HTMLElement} */ details, /** @type {Line} */ line) {
  const json = element("pre");
  json.tabIndex = 0;
  json.role = "group";
  json.setAttribute("aria-label", `Request ${line.number} as JSON`);
  details.append(json);
  try {
    const answer = await fetch(`/sandbox/requests/${line.number}`);
    json.textContent = JSON.stringify(await answer.json(), null, 2);
  } catch {
    json.textContent = "The sandbox does not answer.";
  }
}

// -- the banner --

function announce(/** @type {Line[]} */ lines) {
  const line = lines.findLast((one) => one.alert);
  if (!line) return;
  const banner = element("div", "banner");
  const from = element("p", "from");
  from.append(element("span", "", "ActivitySmith"), element("span", "", "now"));
  banner.append(from);
  if (line.alert.title) banner.append(element("p", "title", line.alert.title));
  if (line.alert.body) banner.append(element("p", "body", line.alert.body));
  byId("banners").replaceChildren(banner);
  setTimeout(() => banner.remove(), BANNER_SECONDS * 1000);
}

// -- the connection --

function tell(/** @type {News} */ news) {
  serverIsAhead = news.now - Date.now() / 1000;
  if (news.fresh) {
    cards.clear();
    log.replaceChildren();
    byId("no-requests").hidden = false;
  }
  take(news.cards);
  if (news.fresh) arrange();
  write(news.lines);
  if (!news.fresh) announce(news.lines);
  byId("live").textContent = `${news.live} live`;
}

function connected(is) {
  const status = byId("connection");
  status.classList.toggle("open", is);
  setText(status, is ? "Live" : "Reconnecting …");
}

/** @type {EventSource | undefined} */
let source;

/** Listen while somebody looks: a page in the background costs nothing, and is told all anew when it comes back. */
function listen() {
  source?.close();
  source = undefined;
  if (document.hidden) return;
  source = new EventSource("/sandbox/events");
  source.onopen = () => connected(true);
  source.onmessage = (event) => tell(JSON.parse(event.data));
  source.onerror = () => {
    connected(false);
    // The browser tries again by itself, but not where something else answered.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, RETRY_SECONDS * 1000);
  };
}

byId("settings").textContent =
  `export ACTIVITYSMITH_BASE_URL=${location.origin}/api\nexport ACTIVITYSMITH_API_KEY=ask_sandbox`;
byId("look").addEventListener("change", (event) => {
  document.documentElement.dataset.look = event.target.value;
});
byId("more").addEventListener("click", () => {
  most += CARDS_AT_ONCE;
  arrange();
});
document.addEventListener("visibilitychange", listen);
tick();
setInterval(tick, 250);
listen();
