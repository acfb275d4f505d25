// The gallery of a report: finds, pages and draws molecules that the page carries in compressed pieces.
"use strict";

const PER_PAGE = 24;
const PIECES_KEPT = 24; // unpacked, a few hundred kilobytes each
const SVG = "http://www.w3.org/2000/svg";
const [, DOUBLE, TRIPLE, DOUBLE_LEFT, DOUBLE_RIGHT, WEDGE, HASHED, OTHER] = Array(8).keys(); // as sketch.py has them
const MARKS = { right: "✓", wrong: "✗", missed: "–" };
const byId = (id) => document.getElementById(id);

const index = JSON.parse(byId("index").textContent);
const scores = bytes(index.scores);
const own = bytes(index.own);
const packed = [...document.querySelectorAll("script.piece")].map((script) => script.textContent);
const everything = Uint32Array.from({ length: index.records }, (_, record) => record);

// Pieces

const unpacked = new Map(); // the most recently used last

function bytes(base64) {
  return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
}

async function piece(number) {
  const known = unpacked.get(number);
  unpacked.delete(number);
  const entries = known ?? unpack(packed[number]);
  unpacked.set(number, entries);
  if (unpacked.size > PIECES_KEPT) unpacked.delete(unpacked.keys().next().value);
  return entries;
}

async function unpack(base64) {
  const stream = new Blob([bytes(base64)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).json();
}

async function entry(record) {
  return (await piece(Math.floor(record / index.perPiece)))[record % index.perPiece];
}

// Finding

let search = 0; // the number of the latest; an older one stops when it sees a newer
let found = everything;
let shownPage = 0;

async function find() {
  const mine = ++search;
  const wanted = Object.fromEntries(new FormData(byId("filters")));
  const [least, most] = wanted.grounding ? wanted.grounding.split("-").map(Number) : [0, 100];
  const cheap = everything.filter(
    (record) => scores[record] >= least && scores[record] <= most && (!wanted.own || own[record]),
  );
  shownPage = 0;
  const words = wanted.text.trim();
  if (!words && !wanted.group) {
    found = ordered(cheap, wanted.order);
    return show(counted(found.length));
  }
  const candidates = new Set(cheap);
  const fitting = [];
  for (let number = 0; number < packed.length; number++) {
    const entries = await piece(number);
    if (mine !== search) return;
    entries.forEach((each, place) => {
      const record = number * index.perPiece + place;
      if (candidates.has(record) && fits(each, words, wanted)) fitting.push(record);
    });
    const last = number === packed.length - 1;
    if (last || number % 16 === 0) {
      found = ordered(Uint32Array.from(fitting), wanted.order);
      await show(last ? counted(found.length) : `${counted(found.length)} so far, ${percent(number)} looked through`);
    }
  }
}

function fits(each, words, wanted) {
  const groupFits = ([name, mark]) =>
    name === wanted.group && (wanted.mark ? mark === wanted.mark : mark !== "missed");
  return (
    (!wanted.group || each.groups.some(groupFits)) &&
    (!words || each.smiles.includes(words) || each.text.toLowerCase().includes(words.toLowerCase()))
  );
}

function ordered(records, order) {
  if (!order) return records;
  const sign = order === "worst" ? 1 : -1;
  return records.slice().sort((one, other) => sign * (scores[one] - scores[other]) || one - other);
}

const counted = (number) => `${number.toLocaleString("en")} ${number === 1 ? "molecule" : "molecules"}`;
const percent = (number) => `${Math.round((100 * number) / packed.length)} %`;

// Showing

let showing = 0;

async function show(status) {
  const mine = ++showing;
  const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
  shownPage = Math.min(Math.max(shownPage, 0), pages - 1);
  const records = found.subarray(shownPage * PER_PAGE, (shownPage + 1) * PER_PAGE);
  const entries = await Promise.all([...records].map(entry));
  if (mine !== showing) return;
  byId("cards").replaceChildren(...entries.map(card));
  if (status !== undefined) byId("found").textContent = status;
  byId("pages").hidden = pages === 1;
  byId("page").value = shownPage + 1;
  byId("page").max = pages;
  byId("of").textContent = `of ${pages.toLocaleString("en")}`;
  byId("previous").disabled = shownPage === 0;
  byId("next").disabled = shownPage === pages - 1;
}

function turnTo(page) {
  shownPage = page;
  show();
  byId("found").scrollIntoView({ block: "start" });
}

/** Makes an element; what comes from data is set as text, never as HTML. */
function make(tag, facts = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(facts)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function card(each) {
  const drawing = draw(each.sketch, each.smiles);
  const groups = each.groups.map(([name, mark, atoms]) => {
    const tag = make("li", { class: mark, tabindex: 0, title: `${name}: ${mark}` }, `${MARKS[mark]} ${name}`);
    for (const event of ["mouseenter", "focus"]) tag.addEventListener(event, () => point(drawing, atoms));
    for (const event of ["mouseleave", "blur"]) tag.addEventListener(event, () => point(drawing, []));
    return tag;
  });
  const facts = each.facts.map(([name, claimed, truth]) => {
    const right = claimed === truth;
    const words = `${right ? MARKS.right : MARKS.wrong} ${name.replaceAll("_", " ")} ${claimed}`;
    return make("li", { class: right ? "right" : "wrong" }, right ? words : `${words} (is ${truth})`);
  });
  const made = Object.entries({ ...index.spec, ...each.made, ...index.software[each.made.software] });
  return make(
    "article",
    {},
    drawing,
    make("code", { class: "smiles" }, each.smiles),
    make("ul", { class: "claims" }, ...groups, ...facts),
    make("p", {}, said(each.text)),
    make(
      "details",
      {},
      make("summary", {}, `Grounding ${each.score.toFixed(2)}, provenance`),
      make("dl", {}, ...made.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, worded(name, value))])),
      make("pre", {}, each.text),
    ),
  );
}

/** Returns the description out of a JSON answer, or the whole text. */
function said(text) {
  try {
    const { description } = JSON.parse(text);
    if (typeof description === "string") return description;
  } catch {
    // free text
  }
  return text;
}

const worded = (name, value) => (name === "time" ? new Date(1000 * value).toISOString() : String(value));

// Drawing

function draw({ at, labels, bonds }, smiles) {
  const xs = at.filter((_, place) => place % 2 === 0);
  const ys = at.filter((_, place) => place % 2 === 1);
  const room = 24;
  const width = Math.max(...xs, 0) + 2 * room;
  const height = Math.max(...ys, 0) + 2 * room;
  const least = 160; // so that small molecules are not drawn larger than life
  const [wide, high] = [Math.max(width, least * 1.3), Math.max(height, least)];
  const corner = `${-room - (wide - width) / 2} ${-room - (high - height) / 2}`;
  const svg = shape("svg", { viewBox: `${corner} ${wide} ${high}`, role: "img", "aria-label": smiles, class: "sketch" });
  const marked = shape("g", { class: "marked" });
  svg.append(marked);
  const texts = new Map();
  for (let place = 0; place < labels.length; place += 3) texts.set(labels[place], labels.slice(place + 1, place + 3));
  for (let place = 0; place < bonds.length; place += 3) {
    const [first, second, kind] = bonds.slice(place, place + 3);
    const ends = [first, second].map((atom) => [xs[atom], ys[atom]]);
    svg.append(bond(shortened(ends, texts.has(first), texts.has(second)), kind));
  }
  for (const [atom, [text, endsHere]] of texts) {
    const half = 5 * Math.sign(text.length - 1); // about half of the symbol's width
    const symbol = text.match(endsHere ? /[A-Z][a-z]?[^A-Z]*$/ : /[A-Z][a-z]?/);
    const anchor = text.length === 1 ? "middle" : endsHere ? "end" : "start";
    const facts = { x: xs[atom] + (endsHere ? half : -half), y: ys[atom] + 5, "text-anchor": anchor };
    const word = shape("text", { ...facts, class: `atom ${symbol ? symbol[0].replace(/[^A-Za-z]/g, "") : ""}` });
    word.textContent = text;
    svg.append(word);
  }
  svg.places = xs.map((x, atom) => [x, ys[atom]]);
  return svg;
}

function shape(tag, facts) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(facts)) element.setAttribute(name, value);
  return element;
}

/** Ends a bond before the label of an atom. */
function shortened([[x1, y1], [x2, y2]], labelled1, labelled2) {
  const length = Math.hypot(x2 - x1, y2 - y1) || 1;
  const [dx, dy] = [((x2 - x1) / length) * 9, ((y2 - y1) / length) * 9];
  return [
    labelled1 ? [x1 + dx, y1 + dy] : [x1, y1],
    labelled2 ? [x2 - dx, y2 - dy] : [x2, y2],
  ];
}

function bond([[x1, y1], [x2, y2]], kind) {
  const length = Math.hypot(x2 - x1, y2 - y1) || 1;
  const [nx, ny] = [-(y2 - y1) / length, (x2 - x1) / length]; // to the right of the way, since y points downwards
  const line = (off, inset = 0) => {
    const [dx, dy] = [(x2 - x1) * inset, (y2 - y1) * inset];
    return `M${x1 + nx * off + dx},${y1 + ny * off + dy}L${x2 + nx * off - dx},${y2 + ny * off - dy}`;
  };
  const paths = {
    [DOUBLE]: line(2.5) + line(-2.5),
    [TRIPLE]: line(0) + line(4) + line(-4),
    [DOUBLE_LEFT]: line(0) + line(-5, 0.12),
    [DOUBLE_RIGHT]: line(0) + line(5, 0.12),
    [WEDGE]: `M${x1},${y1}L${x2 + nx * 4},${y2 + ny * 4}L${x2 - nx * 4},${y2 - ny * 4}Z`,
    [HASHED]: hashes(x1, y1, x2, y2, nx, ny),
  };
  const classes = { [WEDGE]: "bond wedge", [OTHER]: "bond other" };
  return shape("path", { d: paths[kind] ?? line(0), class: classes[kind] ?? "bond" });
}

function hashes(x1, y1, x2, y2, nx, ny) {
  const strokes = [];
  for (let part = 1; part <= 6; part++) {
    const [x, y, half] = [x1 + ((x2 - x1) * part) / 6, y1 + ((y2 - y1) * part) / 6, (4 * part) / 6];
    strokes.push(`M${x + nx * half},${y + ny * half}L${x - nx * half},${y - ny * half}`);
  }
  return strokes.join("");
}

/** Marks atoms of a drawing. */
function point(svg, atoms) {
  const circles = atoms.map((atom) => shape("circle", { cx: svg.places[atom][0], cy: svg.places[atom][1], r: 11 }));
  svg.querySelector(".marked").replaceChildren(...circles);
}

// The form and the keyboard

let typing;
byId("filters").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(find, 150);
});
byId("filters").addEventListener("reset", () => setTimeout(find));
byId("filters").addEventListener("submit", (event) => event.preventDefault());
byId("previous").addEventListener("click", () => turnTo(shownPage - 1));
byId("next").addEventListener("click", () => turnTo(shownPage + 1));
byId("page").addEventListener("change", () => turnTo(Number(byId("page").value) - 1));
find();
