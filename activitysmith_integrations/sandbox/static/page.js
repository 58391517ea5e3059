// The lock screen: shows the events that the sandbox sends. Whatever comes from a request is inserted as text; only the
// cards, which the sandbox draws itself, are markup.

const CARDS_AT_ONCE = 50;
const MAX_CARDS = 1000; // as many as the sandbox sends
const LINES = 200;
const BANNER_SECONDS = 6;
const RETRY_SECONDS = 2;

/** @typedef {{key: string, svg: string | null, label: string, color: string, started_at: number,
 *             removed_at: number | null}} Card */
/** @typedef {{number: number, time: string, method: string, stream_key: string, status: number | null,
 *             operation: string | null, message: string | null, changed: string[],
 *             alert: {title?: string, body?: string} | null}} Line */
/** @typedef {{now: number, fresh: boolean, live: number, cards: Card[], lines: Line[]}} SandboxEvent */

const byId = (/** @type {string} */ id) => document.getElementById(id);
const stack = byId("stack");
const log = byId("log");

/** @type {Map<string, Card>} */
const cards = new Map();
/** @type {Map<string, Card>} What iOS has removed from the screen. */
const removed = new Map();
/** @type {Map<string, HTMLElement>} The cards that are on the page. */
const shown = new Map();
let maxShown = CARDS_AT_ONCE;
let serverOffset = 0; // seconds that the server's clock is ahead

// -- text and markup --

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

/** 4:05 or 1:04:05, as the sandbox draws it. */
function digits(seconds) {
  const two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(seconds / 3600), minutes = Math.floor(seconds / 60) % 60;
  return (hours ? `${hours}:${two(minutes)}` : `${minutes}`) + `:${two(seconds % 60)}`;
}

const serverNow = () => Date.now() / 1000 + serverOffset;

// -- the stack --

/** Update the cards that changed. */
function updateCards(/** @type {Card[]} */ changed) {
  let rearranged = false;
  for (const card of changed) {
    const before = cards.get(card.key);
    if (before?.started_at !== card.started_at || card.svg === null) rearranged = true;
    if (card.svg === null) {
      cards.delete(card.key);
      if (card.removed_at !== undefined) remember(card);
    } else {
      cards.set(card.key, card);
      forget(card.key);
      if (shown.has(card.key)) redraw(card);
    }
  }
  if (rearranged) arrange();
}

/** Show the newest cards in their order. */
function arrange() {
  const wanted = [...cards.values()].sort((a, b) => b.started_at - a.started_at);
  for (const card of wanted.splice(MAX_CARDS)) cards.delete(card.key);
  const top = wanted.slice(0, maxShown);
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
  updateTime(item, card);
}

/** Remove a card from the page, without an animation where its stream is still there. */
function leave(/** @type {HTMLElement} */ item, atOnce) {
  if (atOnce || matchMedia("(prefers-reduced-motion: reduce)").matches) item.remove();
  else {
    item.classList.add("leaving");
    item.addEventListener("animationend", () => item.remove());
    setTimeout(() => item.remove(), 1000); // no animation runs in a hidden page
  }
}

// -- what iOS has removed --

/** List a stream that is no longer on the screen. */
function remember(/** @type {Card} */ card) {
  removed.delete(card.key);
  removed.set(card.key, card);
  removedChanged = true;
}

function forget(/** @type {string} */ key) {
  if (removed.delete(key)) removedChanged = true;
}

let removedChanged = false;

/** Show the list, the latest first. */
function listRemoved() {
  if (!removedChanged) return;
  removedChanged = false;
  const latest = [...removed.values()].sort((a, b) => b.removed_at - a.removed_at);
  for (const card of latest.splice(LINES)) removed.delete(card.key);
  byId("removed").replaceChildren(...latest.map(removedRow));
  byId("removed-section").hidden = latest.length === 0;
}

function removedRow(/** @type {Card} */ card) {
  const item = element("li");
  const what = element("span", "label card");
  what.append(element("span", `dot ${card.color}`), element("span", "", card.label));
  item.append(
    element("span", "time-of", timeOfDay(card.removed_at * 1000)),
    element("span", "", card.key),
    what,
  );
  return item;
}

const timeOfDay = (moment) => new Date(moment).toLocaleTimeString([], { hour12: false });

// -- what changes without events --

function tick() {
  const now = new Date();
  setText(byId("time"), now.toLocaleTimeString([], { hour: "numeric", minute: "2-digit", hour12: false }));
  setText(byId("date"), now.toLocaleDateString([], { weekday: "long", month: "long", day: "numeric" }));
  for (const [key, item] of shown) updateTime(item, cards.get(key));
  const over = [...cards.values()].filter((card) => card.removed_at !== null && card.removed_at <= serverNow());
  if (over.length) {
    for (const card of over) {
      cards.delete(card.key);
      remember(card);
    }
    arrange();
    listRemoved();
  }
}

/** Set a text where it differs: setting the same one again would cost a layout. */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function updateTime(/** @type {HTMLElement} */ item, /** @type {Card} */ card) {
  const left = card.removed_at === null ? null : Math.max(0, Math.ceil(card.removed_at - serverNow()));
  setText(item.querySelector(".end"), left === null ? "" : `Ended · iOS removes it in ${digits(left)}`);
  const svg = item.querySelector("svg[data-counts]");
  if (!svg) return;
  const down = svg.dataset.counts === "down";
  const duration = Number(svg.dataset.duration ?? Infinity);
  const elapsed = Math.min(Math.max(0, serverNow() - Number(svg.dataset.started)), duration);
  const seconds = down ? duration - elapsed : elapsed;
  setText(svg.querySelector(".timer-digits"), digits(down ? Math.ceil(seconds) : Math.floor(seconds)));
  const bar = svg.querySelector(".timer-bar");
  bar?.setAttribute("width", (Number(bar.dataset.full) * (seconds / duration)).toFixed(1));
}

// -- the request log --

function appendLines(/** @type {Line[]} */ lines) {
  if (lines.length === 0) return;
  byId("no-requests").hidden = true;
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 20;
  log.append(...lines.map(row));
  while (log.childElementCount > LINES) log.firstElementChild.remove();
  // Someone who has scrolled up is left where they are.
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function row(/** @type {Line} */ line) {
  const summary = element("summary");
  const refused = line.operation === null;
  const operation = line.operation ?? `${line.method} ${line.status ?? "dropped"}`;
  summary.append(
    element("span", "time-of", timeOfDay(line.time)),
    element("span", `operation ${refused ? "refused" : operation === "ended" ? "ended" : ""}`, operation),
    element("span", "", line.stream_key),
    element("span", "changed", line.changed.join(", ") || line.message || (operation === "ended" ? "unchanged" : "nothing changed")),
  );
  const details = element("details");
  details.append(summary);
  details.addEventListener("toggle", () => showRequest(details, line), { once: true });
  const item = element("li");
  item.append(details);
  return item;
}

/** Fetch the whole request and show it. */
async function showRequest(/** @type {HTMLElement} */ details, /** @type {Line} */ line) {
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

function showBanner(/** @type {Line[]} */ lines) {
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

function handle(/** @type {SandboxEvent} */ event) {
  serverOffset = event.now - Date.now() / 1000;
  if (event.fresh) {
    cards.clear();
    removed.clear();
    removedChanged = true;
    log.replaceChildren();
    byId("no-requests").hidden = false;
  }
  updateCards(event.cards);
  if (event.fresh) arrange();
  listRemoved();
  appendLines(event.lines);
  if (!event.fresh) showBanner(event.lines);
  const are = event.live > 1 ? `${event.live} Live Activities are` : `${event.live || "No"} Live Activity is`;
  setText(byId("live"), `${are} running`);
}

function connected(is) {
  const status = byId("connection");
  status.classList.toggle("open", is);
  setText(status, is ? "Live" : "Reconnecting …");
}

/** @type {EventSource | undefined} */
let source;

/** Listen while the page is visible: a hidden page costs nothing, and is sent everything anew when it is shown again. */
function listen() {
  source?.close();
  source = undefined;
  if (document.hidden) return;
  source = new EventSource("/sandbox/events");
  source.onopen = () => connected(true);
  source.onmessage = (event) => handle(JSON.parse(event.data));
  source.onerror = () => {
    connected(false);
    // The browser reconnects by itself, but not where the answer was no event stream.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, RETRY_SECONDS * 1000);
  };
}

byId("settings").textContent =
  `export ACTIVITYSMITH_BASE_URL=${location.origin}/api\nexport ACTIVITYSMITH_API_KEY=ask_sandbox`;
byId("look").addEventListener("change", (event) => {
  document.documentElement.dataset.look = event.target.value;
});
byId("more").addEventListener("click", () => {
  maxShown += CARDS_AT_ONCE;
  arrange();
});
document.addEventListener("visibilitychange", listen);
tick();
setInterval(tick, 250);
listen();
