// The page: shows the park from /api/v1 and keeps it up to date by /api/v1/stream.
//
// Rules: names and errors enter the document as text, never as markup. Ages are told by the gateway's clock, days and
// hours in the park's zone. A value never looks fresh when it is not: ages run on by themselves, and when the stream is
// silent the whole page says so.

const SILENT_AFTER_MS = 5000;
const SHOW_UNHEARD_AFTER_MS = 1500;
const STALE_UNKNOWN_INTERVAL_MS = 15 * 60 * 1000;
const STALE_INTERVALS = 3;
const STALE_SLACK_MS = 10000;
const TODAY_EVERY_MS = 30000;
const PPM_PER_PERCENT = 10000;
const ALARMS_EVERY_MS = 5000;
const EMISSIONS_EVERY_MS = 60000;
const EMISSION_FORMS = ["html", "xlsx", "csv", "json", "package"];
const ALARMS_COMPLIANCE_SHOWN = 20;
const METERS_EVERY_MS = 300000;
const METER_ENTRIES_SHOWN = 20;
const TO_DECIDE_SHOWN = 100;
const VERDICTS = ["rollover", "reset", "old_wrong", "new_wrong"];
const SHELVE_SECONDS = 8 * 3600;
const SPARK_EVERY_MS = 60000;
const SPARK_REQUESTS_MAX = 3;
const SPARK_SPAN_MIN = 0.02;
const DECIMALS_SHIFTED_MAX = 3;

const byId = (id) => document.getElementById(id);
const state = {
  language: "zh",
  texts: { zh: {}, en: {} },
  park: null,
  who: null,
  hello: null,
  stats: null,
  today: [],
  alarms: null,
  outlets: [],
  meters: null,
  devices: new Map(),
  points: new Map(),
  links: new Map(),
  clockOffsetMs: 0,
  heardMs: 0,
  startedMs: performance.now(),
};

// ---- small helpers

function text(key, values = {}) {
  const pattern = state.texts[state.language][key] ?? key;
  return pattern.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

function element(tag, className, content) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (content !== undefined) node.textContent = content;
  return node;
}

function put(node, content) {
  if (node.textContent !== content) node.textContent = content;
}

const named = (names) => names[state.language] || names.en || names.zh;
const gatewayNow = () => Date.now() + state.clockOffsetMs;

async function load(path) {
  const answer = await fetch(path, { headers: { accept: "application/json" } });
  if (answer.status === 401) await logIn();
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

async function loadAll(path) {
  const items = [];
  let next = "";
  do {
    const page = await load(path + next);
    items.push(...page.items);
    next = page.next === null ? null : `${path.includes("?") ? "&" : "?"}after=${encodeURIComponent(page.next)}`;
  } while (next !== null);
  return items;
}

// ---- numbers, units, times

function grouped(decimal) {
  const [, sign, whole, fraction] = /^(-?)(\d+)(\.\d+)?$/.exec(decimal) ?? [null, "", decimal, ""];
  return (sign ? "\u2212" : "") + whole.replace(/\B(?=(\d{3})+$)/g, ",") + (fraction ?? "");
}

// Moves the decimal point of a decimal text to the left, digit for digit.
function shifted(decimal, places) {
  const negative = decimal.startsWith("-");
  const [whole, fraction = ""] = decimal.replace("-", "").split(".");
  let digits = whole + fraction;
  let decimals = fraction.length + places;
  if (decimals < 0) {
    digits += "0".repeat(-decimals);
    decimals = 0;
  }
  digits = digits.padStart(decimals + 1, "0");
  const cut = digits.length - decimals;
  const result = digits.slice(0, cut).replace(/^0+(?=\d)/, "") + (decimals > 0 ? `.${digits.slice(cut)}` : "");
  return (negative ? "-" : "") + result;
}

function shownValue(point, value) {
  if (!point.display) return grouped(value);
  const exact = shifted(value, point.display.shift);
  const decimals = exact.split(".")[1]?.length ?? 0;
  return grouped(decimals > DECIMALS_SHIFTED_MAX ? Number(exact).toFixed(DECIMALS_SHIFTED_MAX) : exact);
}

function shownUnit(point) {
  const unit = point.display?.unit ?? point.unit;
  if (unit === "1" || unit === "state") return "";
  return unit
    .replace("10^4 ", state.language === "zh" ? "万" : "10\u2074 ")
    .replace("m3", "m\u00b3")
    .replace("degC", "\u00b0C")
    .replace(/^u(?=[gS])/, "\u00b5");
}

function age(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 120) return text("age_seconds", { n: seconds });
  if (seconds < 7200) return text("age_minutes", { n: Math.floor(seconds / 60) });
  if (seconds < 172800) return text("age_hours", { n: Math.floor(seconds / 3600) });
  return text("age_days", { n: Math.floor(seconds / 86400) });
}

function format(time, options) {
  // Sweden writes 2026-11-23 14:05:12, which reads the same in both languages.
  return new Intl.DateTimeFormat("sv-SE", { timeZone: state.park?.time_zone, ...options }).format(time);
}

const TIME = { hour: "2-digit", minute: "2-digit", second: "2-digit" };
const DATE_TIME = { year: "numeric", month: "2-digit", day: "2-digit", ...TIME };

// The time of today alone, else with its date.
function shownTime(iso) {
  const time = new Date(iso);
  const day = { year: "numeric", month: "2-digit", day: "2-digit" };
  return format(time, format(time, day) === format(new Date(gatewayNow()), day) ? TIME : DATE_TIME);
}

// ---- what a value is worth

function worth(point, latest, now) {
  const sample = latest?.sample;
  if (!sample) return "none";
  if (sample.quality === "bad") return "bad";
  const allowed = point.interval_ms === null ? STALE_UNKNOWN_INTERVAL_MS : STALE_INTERVALS * point.interval_ms + STALE_SLACK_MS;
  return now - sample.record_time_ms > allowed ? "stale" : sample.quality;
}

function reasonOf(point, quality, sample) {
  if (quality === "stale") {
    return point.interval_ms === null ? text("stale_reason_unknown") : text("stale_reason", { interval: age(point.interval_ms) });
  }
  return sample?.reason ? text(`reason_${sample.reason}`) : "";
}

const QUALITY_MARK = { good: "\u25cf", uncertain: "\u25b2", bad: "\u2715", stale: "\u25d4", none: "\u25cb" };
const STATE_MARK = { up: "\u25cf", degraded: "\u25b2", down: "\u2715", unknown: "\u25cb" };

// ---- building

function marked(className) {
  const node = element("span", className);
  const mark = element("span", "mark");
  mark.setAttribute("aria-hidden", "true");
  const word = element("span");
  node.append(mark, word);
  return { node, mark, word };
}

function buildPoint(point) {
  const row = { point, latest: null, node: element("li"), spark: null, sparkLoadedMs: 0 };
  row.name = element("span", "point");
  row.spark = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  row.spark.setAttribute("class", "spark");
  row.spark.setAttribute("viewBox", "0 0 100 20");
  row.spark.setAttribute("preserveAspectRatio", "none");
  row.spark.setAttribute("aria-hidden", "true");
  row.value = element("span", "value");
  row.number = element("span");
  row.unit = element("span", "unit");
  row.value.append(row.number, row.unit);
  row.quality = marked("quality");
  row.age = element("span", "age");
  row.reason = element("span", "reason");
  row.node.append(row.name, row.spark, row.value, row.quality.node, row.age, row.reason);
  row.node.dataset.point = point.id;
  return row;
}

function buildDevice(device) {
  const card = { device, rows: [], node: element("article", "card") };
  const header = element("header");
  card.name = element("h3");
  card.state = marked("state");
  card.badge = element("span", "badge");
  header.append(card.name, card.badge, card.state.node);
  card.error = element("p", "error");
  card.list = element("ul", "points");
  card.list.setAttribute("role", "list");
  card.details = element("details");
  card.summary = element("summary");
  card.facts = element("dl");
  card.details.append(card.summary, card.facts);
  card.details.addEventListener("toggle", () => showDetails(card));
  card.node.append(header, card.error, card.list, card.details);
  return card;
}

function build(park, devices, points) {
  state.park = park;
  const known = new Map([...state.points].map(([id, row]) => [id, row.latest]));
  state.devices.clear();
  state.points.clear();
  seen.disconnect();
  inSight.clear();
  const root = byId("park");
  root.textContent = "";
  state.sections = [];
  const groups = new Map([...park.enterprises.map((enterprise) => [enterprise.id, enterprise]), [null, null]]);
  for (const [id, enterprise] of groups) {
    const members = devices.filter((device) => device.enterprise === id);
    if (members.length === 0) continue;
    const section = { enterprise, node: element("section"), cards: [] };
    const header = element("header");
    section.name = element("h2");
    section.summary = element("span", "muted");
    header.append(section.name, section.summary);
    const cards = element("div", "cards");
    section.node.append(header, cards);
    for (const device of members) {
      const card = buildDevice(device);
      section.cards.push(card);
      state.devices.set(device.id, card);
      cards.append(card.node);
    }
    state.sections.push(section);
    root.append(section.node);
  }
  for (const point of points) {
    const card = state.devices.get(point.device);
    if (!card) continue;
    const row = buildPoint(point);
    row.latest = known.get(point.id) ?? null;
    card.rows.push(row);
    card.list.append(row.node);
    state.points.set(point.id, row);
    seen.observe(row.node);
  }
  const isSimulated = (device) => device.origin === "simulated";
  const allSimulated = park.demo || (devices.length > 0 && devices.every(isSimulated));
  byId("simulated").hidden = !allSimulated;
  for (const card of state.devices.values()) card.badge.hidden = allSimulated || !isSimulated(card.device);
  relabel();
}

// ---- showing

// Everything that depends on the language.
function relabel() {
  document.documentElement.lang = state.language === "zh" ? "zh-CN" : "en";
  for (const node of document.querySelectorAll("[data-text]")) put(node, text(node.dataset.text));
  for (const node of document.querySelectorAll("[data-title]")) node.title = text(node.dataset.title);
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", text(node.dataset.label));
  for (const node of document.querySelectorAll("[data-placeholder]")) {
    node.placeholder = text(node.dataset.placeholder);
    node.setAttribute("aria-label", text(node.dataset.placeholder));
  }
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === state.language));
  }
  if (!state.park) return;
  put(byId("park-name"), named(state.park.name));
  document.title = `${named(state.park.name)} \u00b7 parkgate`;
  put(byId("zone"), state.park.time_zone);
  if (state.who) showSession(state.who);
  const media = [...new Set([...state.points.values()].map((row) => row.point.medium))];
  const select = byId("medium");
  const chosen = select.value;
  select.textContent = "";
  for (const medium of ["", ...media]) {
    const option = element("option", "", text(medium ? `medium_${medium}` : "medium_all"));
    option.value = medium;
    select.append(option);
  }
  select.value = media.includes(chosen) ? chosen : "";
  for (const section of state.sections) put(section.name, section.enterprise ? named(section.enterprise.name) : text("park_own"));
  for (const card of state.devices.values()) {
    put(card.name, named(card.device.name));
    put(card.badge, text("simulated"));
    card.badge.title = text("simulated_hint");
    put(card.summary, text("details"));
    card.summary.setAttribute("aria-label", `${text("details")}: ${named(card.device.name)}`);
    showDetails(card);
    for (const row of card.rows) {
      put(row.name, named(row.point.name));
      row.name.title = row.point.id;
      labelSpark(row);
    }
  }
  showAll();
}

function showPoint(row, now) {
  const sample = row.latest?.sample;
  const quality = worth(row.point, row.latest, now);
  row.worth = quality;
  if (row.node.dataset.quality !== quality) row.node.dataset.quality = quality;
  const hasValue = sample && sample.value !== null;
  put(row.number, hasValue ? shownValue(row.point, sample.value) : sample ? text("no_value") : "\u2013");
  put(row.unit, hasValue ? shownUnit(row.point) : "");
  put(row.quality.mark, QUALITY_MARK[quality]);
  put(row.quality.word, text(`quality_${quality}`));
  put(row.age, sample ? age(now - sample.record_time_ms) : "");
  const reason = reasonOf(row.point, quality, sample);
  put(row.reason, reason);
  row.reason.hidden = reason === "";
}

function showDevice(card, now) {
  const { health } = card.device;
  if (card.node.dataset.state !== health.state) card.node.dataset.state = health.state;
  put(card.state.mark, STATE_MARK[health.state]);
  put(card.state.word, text(`device_${health.state}`));
  const link = state.links.get(card.device.link) ?? card.device.link_health;
  const failing = health.state !== "up";
  const error = failing ? health.last_error ?? (link.state === "down" ? link.last_error : null) : null;
  const since = failing && health.since ? text("since", { time: shownTime(health.since), age: age(now - Date.parse(health.since)) }) : "";
  const past = !failing && health.last_error && text("last_error_past", { time: shownTime(health.last_error_time), error: health.last_error });
  const line = [...(failing ? [error, since] : [past]), health.doubt].filter(Boolean).join(" \u00b7 ");
  put(card.error, line);
  card.error.hidden = line === "";
}

function showDetails(card) {
  if (!card.details.open) return;
  const { device } = card;
  const { health } = device;
  const number = (count) => grouped(String(count));
  const rows = [
    ["detail_id", device.id],
    ["detail_address", device.address],
    ["detail_link", `${device.link} \u00b7 ${text(`device_${(state.links.get(device.link) ?? device.link_health).state}`)}`],
    ["detail_last_ok", health.last_ok ? shownTime(health.last_ok) : "\u2013"],
    ["detail_last_error", health.last_error ? `${shownTime(health.last_error_time)} ${health.last_error}` : "\u2013"],
    // Who does not see all that is counted is told no counts.
    ["detail_counters", health.received === null ? "\u2013" : text("counters", {
      received: number(health.received), failed: number(health.failed), rejected: number(health.rejected), skipped: number(health.skipped),
    })],
  ];
  card.facts.textContent = "";
  for (const [key, value] of rows) card.facts.append(element("dt", "", text(key)), element("dd", "", value));
}

function tile(id, level, figure, note) {
  const node = byId(id);
  node.dataset.level = level;
  put(node.querySelector(".figure"), figure);
  put(node.querySelector(".note"), note);
}

// Those of `names` that there are, with how many.
function counted(prefix, counts, names) {
  return names.filter((name) => counts[name]).map((name) => text(prefix + name, { n: counts[name] })).join(text("comma"));
}

function showHeadline(isSilent) {
  const states = { up: 0, degraded: 0, down: 0, unknown: 0 };
  for (const card of state.devices.values()) states[card.device.health.state] += 1;
  const worths = { good: 0, uncertain: 0, bad: 0, stale: 0, none: 0 };
  for (const row of state.points.values()) worths[row.worth] += 1;
  const abnormal = states.degraded + states.down + states.unknown;
  tile("tile-devices", states.down ? "bad" : abnormal ? "warn" : "", text("devices_up", { up: states.up, all: state.devices.size }),
    abnormal ? counted("devices_", states, ["down", "degraded", "unknown"]) : text("devices_all_up"));
  tile("tile-values", worths.bad ? "bad" : worths.good < state.points.size ? "warn" : "",
    text("values_good", { good: worths.good, all: state.points.size }),
    worths.good < state.points.size ? counted("values_", worths, ["bad", "uncertain", "stale", "none"]) : text("values_all_good"));
  const { stats } = state;
  const rate = stats?.samples_per_s ?? null;
  const shownRate = rate === null || isSilent ? "\u2013" : grouped(rate.toFixed(rate < 10 ? 1 : 0));
  const total = stats?.samples_total ?? null;
  tile("tile-rate", "", shownRate, total === null ? "" : text("samples_total", { total: grouped(String(total)) }));
  if (isSilent) tile("tile-gateway", "bad", text("gateway_no_contact"), text("gateway_silent_hint"));
  else if (!stats) tile("tile-gateway", "", text("connecting"), "");
  else if (stats.ready) tile("tile-gateway", "", text("gateway_ready"), text("gateway_version", { version: state.park.version }));
  else tile("tile-gateway", "bad", text("gateway_not_ready"), stats.problems.join("; "));
}

// ---- today's totals at the park's boundary

async function refreshToday() {
  const { time, items } = await load("/api/v1/totals/today");
  const heardMs = (item) => (item.age_ms === null ? null : Date.parse(time) - item.age_ms);
  const key = (item) => `${item.medium} ${item.quantity} ${item.unit}`;
  const isSame = state.today.map(({ item }) => key(item)).join() === items.map(key).join();
  const root = byId("today");
  if (!isSame) root.textContent = "";
  state.today = items.map((item, index) => {
    const node = isSame ? state.today[index].node : root.appendChild(buildToday());
    return { item, node, heardMs: heardMs(item) };
  });
  root.hidden = items.length === 0;
  showToday(gatewayNow());
}

function buildToday() {
  const node = element("div");
  const figure = element("dd", "figure");
  figure.append(element("span", "number"), element("span", "unit"));
  node.append(element("dt"), figure, element("dd", "note"));
  return node;
}

function showToday(now) {
  for (const { item, node, heardMs } of state.today) {
    const hasValue = item.value !== null;
    const isStale = heardMs === null || now - heardMs > STALE_UNKNOWN_INTERVAL_MS;
    const isPart = item.counted < item.gates;
    const notes = [];
    if (isPart) notes.push(text("today_gates", { counted: item.counted, gates: item.gates }));
    if (item.quality !== null && item.quality !== "good") notes.push(text(`quality_${item.quality}`));
    if (item.doubtful) notes.push(text("today_doubtful"));
    if (item.completeness_ppm !== null) {
      notes.push(text("today_complete", { percent: Math.floor(item.completeness_ppm / PPM_PER_PERCENT) }));
    }
    if (heardMs !== null) notes.push(text("today_heard", { age: age(now - heardMs) }));
    node.dataset.level = !hasValue ? "bad" : isPart || isStale || item.doubtful || item.quality !== "good" ? "warn" : "";
    // One name may stand for several media, such as volume for water and gas.
    const isShared = state.today.some((other) => other.item.quantity === item.quantity && other.item.medium !== item.medium);
    const name = isShared ? `${text(`medium_${item.medium}`)} \u00b7 ${named(item.name)}` : named(item.name);
    put(node.querySelector("dt"), text("today_total", { name }));
    put(node.querySelector(".number"), hasValue ? shownValue(item, item.value) : text("quality_none"));
    put(node.querySelector(".unit"), hasValue ? shownUnit(item) : "");
    put(node.querySelector(".note"), notes.join(" \u00b7 "));
  }
}

// ---- alarms: those of operators with buttons, compliance events apart and without

async function refreshAlarms() {
  state.alarms = await load("/api/v1/alarms");
  showAlarms(gatewayNow());
}

// Whoever comes with a token acts under its name; else somebody has to be named.
const isLocal = () => state.who?.name === "local";
const actsAs = () => (state.who && !isLocal() ? state.who.name : byId("alarm-by").value.trim());
const mayAct = () => ["operator", "admin"].includes(state.who?.role);

async function actOn(alarm, act, more) {
  const error = byId("alarm-error");
  const by = actsAs();
  if (by === "") {
    put(error, text("alarm_by_missing"));
    error.hidden = false;
    byId("alarm-by").focus();
    return;
  }
  const path = `/api/v1/alarms/${encodeURIComponent(alarm.fingerprint)}/${act}`;
  const headers = { "content-type": "application/json" };
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify({ by, ...more }) }).catch(() => null);
  const problem = answer && !answer.ok ? await answer.json().catch(() => null) : null;
  error.hidden = answer?.ok === true;
  put(error, answer === null ? text("gateway_no_contact") : problem?.detail ?? "");
  await refreshAlarms().catch(() => {});
}

function buildAlarm(alarm, acts) {
  const { labels, annotations } = alarm;
  const row = element("li");
  row.dataset.priority = labels.priority ?? "";
  const said = state.language === "zh" ? annotations.summary_zh : annotations.summary;
  row.append(element("span", "alarm-priority", text(`priority_${labels.priority}`)), element("span", "alarm-text", said ?? labels.alertname));
  const when = element("span", "alarm-age");
  row.showAge = (now) => {
    const ended = alarm.ends_at !== null && labels.track === "compliance";
    put(when, ended ? `${shownTime(alarm.starts_at)} \u2013 ${shownTime(alarm.ends_at)}` : text("since", {
      time: shownTime(alarm.starts_at), age: age(now - Date.parse(alarm.starts_at)),
    }));
  };
  row.append(when);
  const notes = [];
  if (annotations.acknowledged_by) notes.push(text("alarm_acknowledged", { by: annotations.acknowledged_by }));
  if (annotations.shelved_by) {
    notes.push(text("alarm_shelved", { by: annotations.shelved_by, time: shownTime(annotations.shelved_until) }));
  }
  if (annotations.note) notes.push(`${annotations.note_by ?? ""}: ${annotations.note}`);
  if (notes.length > 0) row.append(element("span", "alarm-note", notes.join(" \u00b7 ")));
  row.classList.toggle("is-quiet", Boolean(annotations.acknowledged_by || annotations.shelved_by));
  if (!acts) return row;
  const buttons = element("span", "alarm-acts");
  const add = (key, act, more) => {
    const button = element("button", "", text(key));
    button.type = "button";
    button.addEventListener("click", () => actOn(alarm, act, more));
    buttons.append(button);
  };
  if (!annotations.acknowledged_by && !annotations.shelved_by) add("alarm_ack", "ack", { starts_at: alarm.starts_at });
  if (annotations.shelved_by) add("alarm_unshelve", "unshelve", {});
  else add("alarm_shelve", "shelve", { for_s: SHELVE_SECONDS });
  row.append(buttons);
  return row;
}

function showAlarms(now) {
  if (!state.alarms) return;
  const root = byId("alarms");
  // The watchdog is there for machines.
  const operator = state.alarms.operator.filter((alarm) => alarm.labels.rule !== "watchdog");
  const compliance = state.alarms.compliance.slice(0, ALARMS_COMPLIANCE_SHOWN);
  root.hidden = operator.length === 0 && compliance.length === 0;
  byId("alarm-by-label").hidden = !mayAct() || !isLocal() || operator.length === 0;
  put(byId("alarms-summary"), operator.length === 0 ? text("alarms_none") : text("alarms_count", { n: operator.length }));
  const fill = (list, alarms, acts) => {
    // Rows stay as they are until something is said of them: a button under somebody's hand is not taken away.
    const shown = JSON.stringify([state.language, acts, alarms]);
    if (list.shown !== shown) {
      list.replaceChildren(...alarms.map((alarm) => buildAlarm(alarm, acts)));
      list.shown = shown;
    }
    for (const row of list.children) row.showAge(now);
    list.hidden = alarms.length === 0;
  };
  fill(byId("alarm-list"), operator, mayAct());
  fill(byId("compliance-list"), compliance, false);
  byId("compliance").hidden = compliance.length === 0;
}

// ---- meters: registers that fell and are to be decided about; decisions, exchanges and readings by hand with their authors

async function refreshMeters() {
  const [decisions, exchanges, readings] = await Promise.all(["decisions", "exchanges", "readings"].map((name) => load(`/api/v1/${name}`)));
  const entries = [
    ...decisions.decided.map((event) => ({ ...event, route: "decisions" })),
    ...exchanges.items.map((event) => ({ ...event, route: "exchanges" })),
    ...readings.items.map((reading) => ({ ...reading, kind: "reading" })),
  ].sort((one, other) => Date.parse(other.entered_at) - Date.parse(one.entered_at));
  state.meters = { toDecide: decisions.to_decide, more: decisions.more, entries };
  showMeters();
}

async function enterOfMeter(route, body, question) {
  const error = byId("meter-error");
  const tell = (words) => {
    error.hidden = words === "";
    put(error, words);
  };
  const by = actsAs();
  if (by === "") {
    tell(text("alarm_by_missing"));
    byId("meter-by").focus();
    return;
  }
  // What is entered stays, undone or not.
  if (!window.confirm(question)) return;
  const note = byId("meter-note").value.trim();
  const entry = { ...body, ...(note && { note }), ...(isLocal() && { by }) };
  const headers = { "content-type": "application/json" };
  const answer = await fetch(`/api/v1/${route}`, { method: "POST", headers, body: JSON.stringify(entry) }).catch(() => null);
  const problem = answer && !answer.ok ? await answer.json().catch(() => null) : null;
  if (answer?.ok) byId("meter-note").value = "";
  tell(answer === null ? text("gateway_no_contact") : answer.ok ? "" : [problem?.detail, problem?.remedy].filter(Boolean).join("; "));
  await refreshMeters().catch(() => {});
}

function meterName(id) {
  const row = state.points.get(id);
  const card = row && state.devices.get(row.point.device);
  return card ? `${named(card.device.name)} \u00b7 ${named(row.point.name)}` : id;
}

function registers(old, next, unit) {
  const shown = (register) => (register === null ? text("meter_unknown") : grouped(register));
  return `${shown(old)} \u2192 ${shown(next)} ${shownUnit({ unit })}`.trim();
}

function meterButton(label, title, action) {
  const button = element("button", "", label);
  button.type = "button";
  button.title = title;
  button.addEventListener("click", action);
  return button;
}

function buildMeter(kind, point, figures, when) {
  const row = element("li");
  const name = element("span", "alarm-text", meterName(point));
  name.title = point;
  row.append(element("span", "alarm-priority", kind), name, element("span", "meter-figures", figures), element("span", "alarm-age", when));
  return row;
}

function buildToDecide(pair, acts) {
  const figures = registers(pair.old, pair.new, pair.unit);
  const row = buildMeter(text("meter_fell"), pair.point, figures, `${shownTime(pair.from)} \u2013 ${shownTime(pair.at)}`);
  row.dataset.priority = "high";
  if (pair.note) row.append(element("span", "alarm-note", pair.note));
  if (pair.wrapped === null) row.append(element("span", "alarm-note", text("meter_no_modulus")));
  if (!acts) return row;
  const buttons = element("span", "alarm-acts meter-acts");
  for (const verdict of VERDICTS) {
    // Without a modulus nothing wraps.
    if (verdict === "rollover" && pair.wrapped === null) continue;
    const gains = { rollover: () => ` +${grouped(pair.wrapped)} ${shownUnit(pair)}`.trimEnd(), reset: () => text("meter_gain_unknown") };
    const effect = gains[verdict]?.() ?? "";
    const label = text(`meter_kind_${verdict}`);
    const means = text(`meter_means_${verdict}`);
    const question = [`${label}${effect}`, `${meterName(pair.point)}: ${figures}`, means, text("meter_stays")].join("\n");
    const add = { point: pair.point, at: pair.at, verdict };
    buttons.append(meterButton(label + effect, means, () => enterOfMeter("decisions", { add }, question)));
  }
  row.append(buttons);
  return row;
}

function buildMeterEntry(entry, acts) {
  const unit = state.points.get(entry.point)?.point.unit ?? "";
  const figures = entry.kind === "reading" ? `${grouped(entry.value)} ${shownUnit({ unit })}`.trim()
    : registers(entry.old_final, entry.new_initial, unit) + (entry.multiplier === null ? "" : ` \u00d7${grouped(entry.multiplier)}`);
  const row = buildMeter(text(`meter_kind_${entry.kind}`), entry.point, figures, shownTime(entry.at));
  const said = [text("meter_said", { by: entry.author, time: shownTime(entry.entered_at) })];
  if (entry.replaced) said.push(text("meter_replaced"));
  said.push(entry.note, entry.document);
  const undone = entry.undone_by ?? null;
  if (undone) said.push(text("meter_undone", { by: undone.author, time: shownTime(undone.time) }), undone.note);
  row.append(element("span", "alarm-note", said.filter(Boolean).join(" \u00b7 ")));
  row.classList.toggle("is-quiet", undone !== null);
  if (!acts || undone || entry.kind === "reading") return row;
  const question = [text("meter_undo_question", { kind: text(`meter_kind_${entry.kind}`) }), `${meterName(entry.point)}: ${figures}`, text("meter_stays")];
  const buttons = element("span", "alarm-acts");
  buttons.append(meterButton(text("meter_undo"), entry.id, () => enterOfMeter(entry.route, { undo: entry.id }, question.join("\n"))));
  row.append(buttons);
  return row;
}

function showMeters() {
  if (!state.meters) return;
  const { toDecide, more, entries } = state.meters;
  const acts = mayAct();
  byId("meters").hidden = toDecide.length === 0 && entries.length === 0;
  byId("meter-form").hidden = !acts;
  byId("meter-by-label").hidden = !isLocal();
  put(byId("meters-summary"), toDecide.length === 0 ? text("meters_none") : text(more ? "meters_count_more" : "meters_count", { n: toDecide.length }));
  const fill = (list, items, make) => {
    // A button under somebody's hand is not taken away.
    const shown = JSON.stringify([state.language, acts, state.points.size, items]);
    if (list.shown === shown) return;
    list.replaceChildren(...items.map((item) => make(item, acts)));
    list.shown = shown;
  };
  byId("to-decide").hidden = toDecide.length === 0;
  fill(byId("to-decide-list"), toDecide.slice(0, TO_DECIDE_SHOWN), buildToDecide);
  byId("to-decide-more").hidden = toDecide.length <= TO_DECIDE_SHOWN;
  put(byId("to-decide-more"), text("meter_entries_more", { n: toDecide.length - TO_DECIDE_SHOWN }));
  byId("meter-entries").hidden = entries.length === 0;
  fill(byId("meter-entry-list"), entries.slice(0, METER_ENTRIES_SHOWN), buildMeterEntry);
  byId("meter-entries-more").hidden = entries.length <= METER_ENTRIES_SHOWN;
  put(byId("meter-entries-more"), text("meter_entries_more", { n: entries.length - METER_ENTRIES_SHOWN }));
}

// ---- emissions: the last hour of each factor of each outlet, and last month's summary in every form

async function refreshEmissions() {
  state.outlets = (await load("/api/v1/outlets")).items;
  showEmissions();
}

function buildEmission(outlet, factor, index) {
  const isFirst = index === 0;
  const { hour, present } = factor;
  const row = element("tr");
  const cell = (content, className = "") => row.appendChild(element("td", className, content));
  const withUnit = (figure) => (figure === null || figure === undefined ? "" : `${figure} ${factor.unit}`);
  // One cell for all factors of the outlet.
  if (isFirst) cell(named(outlet.name) || outlet.id, "emission-outlet").rowSpan = outlet.factors.length;
  cell(named(factor.name) || factor.id);
  cell(hour ? `${shownTime(hour.start)} \u2013 ${shownTime(hour.end)}` : "", "emission-hour");
  cell(withUnit(hour?.average), "figure-cell");
  cell(withUnit(hour?.converted), "figure-cell");
  cell(hour?.limit ?? present?.limit ?? "", "figure-cell");
  const status = hour?.status ?? "missing";
  cell(text(`emission_${status}`), "emission-status").dataset.status = status;
  cell(withUnit(present?.converted ?? present?.average), "figure-cell");
  if (!isFirst) return row;
  const summary = cell("");
  summary.rowSpan = outlet.factors.length;
  const links = summary.appendChild(element("div", "emission-forms"));
  for (const form of EMISSION_FORMS) {
    const link = element("a", "", text(`form_${form}`));
    link.href = `/api/v1/regulator/emissions?outlet=${encodeURIComponent(outlet.id)}&period=hour&format=${form}`;
    links.append(link);
  }
  return row;
}

function showEmissions() {
  const rows = state.outlets.flatMap((outlet) => outlet.factors.map((factor, index) => buildEmission(outlet, factor, index)));
  byId("emissions").hidden = rows.length === 0;
  const body = byId("emission-rows");
  const shown = JSON.stringify([state.language, state.outlets]);
  // A link under somebody's hand is not taken away.
  if (body.shown !== shown) {
    body.replaceChildren(...rows);
    body.shown = shown;
  }
}

function showFilter() {
  const words = byId("search").value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const medium = byId("medium").value;
  const onlyProblems = byId("only-problems").checked;
  let shown = 0;
  for (const section of state.sections) {
    let inSection = 0;
    const enterprise = section.enterprise ? `${section.enterprise.name.zh} ${section.enterprise.name.en}` : "";
    for (const card of section.cards) {
      const { device } = card;
      const deviceText = `${enterprise} ${device.id} ${device.name.zh} ${device.name.en}`.toLowerCase();
      let inCard = 0;
      for (const row of card.rows) {
        const { point } = row;
        const all = `${deviceText} ${point.id} ${point.name.zh} ${point.name.en}`.toLowerCase();
        const isShown = (!medium || point.medium === medium) && (!onlyProblems || row.worth !== "good" || device.health.state === "down")
          && words.every((word) => all.includes(word));
        if (row.node.hidden === isShown) row.node.hidden = !isShown;
        if (isShown) inCard += 1;
      }
      const isProblem = onlyProblems && device.health.state !== "up" && !medium && words.every((word) => deviceText.includes(word));
      const isBare = card.rows.length === 0 && !medium && !onlyProblems && words.every((word) => deviceText.includes(word));
      const isShown = inCard > 0 || isProblem || isBare;
      if (card.node.hidden === isShown) card.node.hidden = !isShown;
      if (isShown) inSection += 1;
    }
    section.node.hidden = inSection === 0;
    const up = section.cards.filter((card) => card.device.health.state === "up").length;
    put(section.summary, text("devices_up", { up, all: section.cards.length }));
    shown += inSection;
  }
  byId("nothing").hidden = shown > 0;
  put(byId("nothing").querySelector("span"), text(state.devices.size ? "nothing_found" : "nothing_configured"));
  byId("clear").hidden = state.devices.size === 0;
}

function showAll() {
  if (!state.park) return;
  const now = gatewayNow();
  const heardMs = state.heardMs || state.startedMs;
  const silentMs = performance.now() - heardMs;
  const isSilent = silentMs > SILENT_AFTER_MS;
  document.body.classList.toggle("is-silent", isSilent);
  byId("silent").hidden = !isSilent;
  if (isSilent) put(byId("silent-age"), text("silent_since", { age: age(silentMs) }));
  byId("connection").dataset.state = isSilent ? "silent" : "live";
  put(byId("connection"), isSilent ? `\u2715 ${text("gateway_no_contact")}` : state.heardMs ? `\u25cf ${text("live")}` : text("connecting"));
  put(byId("clock"), format(new Date(now), DATE_TIME));
  for (const row of state.points.values()) showPoint(row, now);
  for (const card of state.devices.values()) showDevice(card, now);
  showHeadline(isSilent);
  showToday(now);
  showAlarms(now);
  showMeters();
  showEmissions();
  showFilter();
}

// ---- the last hour, drawn small; only for rows that are in sight

const inSight = new Set();
let sparkRequests = 0;
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const row = state.points.get(entry.target.dataset.point);
    if (row && entry.isIntersecting) inSight.add(row);
    else if (row) inSight.delete(row);
  }
  loadSparks();
});

function loadSparks() {
  const now = performance.now();
  for (const row of inSight) {
    if (sparkRequests >= SPARK_REQUESTS_MAX) return;
    if (row.sparkLoadedMs && now - row.sparkLoadedMs < SPARK_EVERY_MS) continue;
    row.sparkLoadedMs = now;
    sparkRequests += 1;
    load(`/api/v1/samples/buckets?point=${encodeURIComponent(row.point.id)}&from=-1h&every=2m`)
      .then((page) => drawSpark(row, page.items))
      .catch(() => {})
      .finally(() => {
        sparkRequests -= 1;
        loadSparks();
      });
  }
}

// A counter is drawn by its rise from bucket to bucket, anything else by its mean.
function drawSpark(row, buckets) {
  const isCounter = row.point.kind === "counter";
  const values = buckets.map((bucket, index) => {
    if (bucket.count === 0) return null;
    if (!isCounter) return Number(bucket.mean);
    const before = buckets[index - 1]?.last;
    const rise = before ? Number(bucket.last.value) - Number(before.value) : null;
    return rise !== null && rise >= 0 ? rise : null;
  });
  // The bucket under way has not risen to its end yet.
  if (isCounter) values.pop();
  const numbers = values.filter((value) => value !== null);
  row.spark.textContent = "";
  row.sparkRange = null;
  if (numbers.length < 2) return labelSpark(row);
  const lowest = Math.min(...numbers);
  const highest = Math.max(...numbers);
  // Consumption is seen against nothing; noise of a steady value is not blown up to the full height.
  const top = Math.max(highest, isCounter ? 0 : lowest + SPARK_SPAN_MIN * Math.abs(highest));
  const bottom = isCounter ? 0 : lowest;
  row.sparkRange = { lowest, highest, isCounter };
  const x = (index) => ((index / (values.length - 1)) * 100).toFixed(1);
  const y = (value) => (top === bottom ? 18 : 18 - ((value - bottom) / (top - bottom)) * 16).toFixed(1);
  let line = "";
  let area = "";
  let run = [];
  const close = () => {
    if (run.length === 0) return;
    const path = run.map(([index, value]) => `${x(index)} ${y(value)}`).join("L");
    line += `M${path}${run.length === 1 ? "h.01" : ""}`;
    if (run.length > 1) area += `M${x(run[0][0])} 20L${path}L${x(run.at(-1)[0])} 20Z`;
    run = [];
  };
  values.forEach((value, index) => (value === null ? close() : run.push([index, value])));
  close();
  for (const [className, d] of [["area", area], ["line", line]]) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("class", className);
    path.setAttribute("d", d);
    row.spark.append(path);
  }
  labelSpark(row);
}

function labelSpark(row) {
  if (!row.sparkRange) {
    row.spark.setAttribute("aria-hidden", "true");
    return;
  }
  const { lowest, highest, isCounter } = row.sparkRange;
  const shown = (value) => `${shownValue(row.point, value.toFixed(row.point.decimals))} ${shownUnit(row.point)}`.trim();
  row.spark.removeAttribute("aria-hidden");
  row.spark.setAttribute("role", "img");
  const label = text(isCounter ? "spark_label_rate" : "spark_label", { min: shown(lowest), max: shown(highest) });
  row.spark.setAttribute("aria-label", label);
}

// ---- staying up to date

function hear(timeMs) {
  state.heardMs = performance.now();
  if (timeMs !== undefined) state.clockOffsetMs = timeMs - Date.now();
}

async function refresh() {
  const [park, devices, points] = await Promise.all([load("/api/v1/park"), load("/api/v1/devices"), loadAll("/api/v1/points?limit=10000")]);
  build(park, devices.items, points);
}

function listen() {
  const stream = new EventSource("/api/v1/stream");
  const on = (name, handle) => stream.addEventListener(name, (event) => handle(JSON.parse(event.data)));
  on("hello", (hello) => {
    hear(hello.time_ms);
    const before = state.hello;
    state.hello = hello;
    // Another program: its page may be another one too.
    if (before && before.version !== hello.version) location.reload();
    else if (before && (before.boot_id !== hello.boot_id || before.catalogue_version !== hello.catalogue_version)) again(refresh);
  });
  on("health", ({ devices, links }) => {
    hear();
    for (const [id, health] of Object.entries(links)) state.links.set(id, health);
    for (const [id, health] of Object.entries(devices)) {
      const card = state.devices.get(id);
      if (!card) continue;
      card.device.health = health;
      showDetails(card);
    }
  });
  on("latest", ({ time_ms, points }) => {
    hear(time_ms);
    for (const latest of points) {
      const row = state.points.get(latest.point);
      if (row) row.latest = latest;
    }
  });
  on("stats", (stats) => {
    hear(stats.time_ms);
    state.stats = stats;
    showAll();
  });
  stream.addEventListener("error", () => {
    // The browser comes back by itself after a cut; not after a refusal: then the token may have ended.
    if (stream.readyState === EventSource.CLOSED) again(session).then(() => setTimeout(listen, 2000));
  });
}

// ---- who looks

// The token is kept in a cookie that scripts cannot read; here it is only passed on.
let loggingIn = null;

// Asks for a token until one is taken. Whatever else finds itself refused meanwhile waits for the same.
function logIn() {
  loggingIn ??= new Promise((resolve) => {
    const form = byId("log-in");
    const field = byId("token");
    const error = byId("log-in-error");
    form.hidden = false;
    byId("main").hidden = true;
    field.focus();
    form.onsubmit = async (event) => {
      event.preventDefault();
      const headers = { authorization: `Bearer ${field.value.trim()}` };
      const answer = await fetch("/api/v1/session", { method: "POST", headers }).catch(() => null);
      field.value = "";
      error.hidden = answer?.ok === true;
      put(error, text(answer === null ? "gateway_no_contact" : answer.status === 429 ? "token_limited" : "token_wrong"));
      if (answer?.ok !== true) return;
      // Another token may see another park.
      if (state.park) location.reload();
      form.hidden = true;
      byId("main").hidden = false;
      loggingIn = null;
      showSession(await answer.json());
      resolve();
    };
  });
  return loggingIn;
}

function showSession(who) {
  state.who = who;
  byId("who").hidden = who.name === "local";
  put(byId("who-name"), text("logged_in_as", { name: who.name, role: text(`role_${who.role}`) }));
}

async function session() {
  showSession(await load("/api/v1/session"));
}

async function logOut() {
  await fetch("/api/v1/session", { method: "DELETE" });
  location.reload();
}

// Does `action`, every two seconds until it works.
async function again(action) {
  for (;;) {
    try {
      return await action();
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  }
}

// ---- start

function remembered(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function remember(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Not remembered then.
  }
}

function speak(language) {
  state.language = language;
  remember("language", language);
  relabel();
}

async function start() {
  const asked = new URLSearchParams(location.search).get("lang") ?? remembered("language") ?? navigator.language;
  state.language = asked.toLowerCase().startsWith("zh") ? "zh" : "en";
  for (const button of document.querySelectorAll("[data-language]")) button.addEventListener("click", () => speak(button.dataset.language));
  byId("log-out").addEventListener("click", () => again(logOut));
  for (const id of ["search", "medium", "only-problems"]) byId(id).addEventListener("input", showAll);
  document.querySelector("form.filter").addEventListener("submit", (event) => event.preventDefault());
  byId("clear").addEventListener("click", () => {
    document.querySelector("form.filter").reset();
    showAll();
  });
  await again(async () => {
    state.texts = await load("/texts.json");
  });
  relabel();
  await again(session);
  await again(refresh);
  listen();
  refreshToday().catch(() => {});
  setInterval(() => refreshToday().catch(() => {}), TODAY_EVERY_MS);
  // One name, wherever it is asked for.
  const names = ["alarm-by", "meter-by"].map(byId);
  for (const field of names) {
    field.value = remembered("alarm-by") ?? "";
    field.addEventListener("input", () => names.forEach((other) => {
      if (other !== field) other.value = field.value;
    }));
    field.addEventListener("change", () => remember("alarm-by", field.value.trim()));
  }
  refreshAlarms().catch(() => {});
  setInterval(() => refreshAlarms().catch(() => {}), ALARMS_EVERY_MS);
  refreshMeters().catch(() => {});
  setInterval(() => refreshMeters().catch(() => {}), METERS_EVERY_MS);
  refreshEmissions().catch(() => {});
  setInterval(() => refreshEmissions().catch(() => {}), EMISSIONS_EVERY_MS);
  // Each round of the stream shows all; without it, ages run on.
  setInterval(() => {
    if (performance.now() - state.heardMs > SHOW_UNHEARD_AFTER_MS) showAll();
  }, 1000);
  setInterval(loadSparks, 5000);
}

start();
