// `draw` takes a Vega-Lite specification with its data, as JSON, and gives a promise of JSON:
// the picture, and what Vega-Lite or Vega finds doubtful in the specification.
"use strict";

// Without a canvas Vega takes every character for 0.8 of the font's size, and makes room for labels that
// nobody needs. These are the widths of Helvetica, which Arial shares, in thousandths of the font's size, from the
// space on (Adobe's font metrics, Helvetica.afm).
const WIDTHS = [
  278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278,
  556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556,
  1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778,
  667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556,
  333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556,
  556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
];
const OTHER_WIDTH = 611;
const BOLD = 1.07;

function textWidth(item, text) {
  let thousandths = 0;
  // Accents take no room of their own.
  for (const character of String(text).normalize("NFD").replace(/[\u0300-\u036f]/g, "")) {
    thousandths += WIDTHS[character.codePointAt(0) - 32] ?? OTHER_WIDTH;
  }
  const bold = item.fontWeight === "bold" || item.fontWeight >= 600;
  return (thousandths / 1000) * (item.fontSize ?? 11) * (bold ? BOLD : 1);
}

const FONT = "Helvetica, Arial, sans-serif";
const CONFIG = {
  background: "white",
  font: FONT,
  axis: { labelFontSize: 11, titleFontSize: 12, titleFontWeight: "normal" },
  legend: { labelFontSize: 11, titleFontSize: 12, titleFontWeight: "normal" },
  header: { labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal" },
};

// What Vega asks for whatever a specification names by address. It would draw on without it.
let outside = false;

function refuse() {
  outside = true;
  return Promise.reject(new Error("refused"));
}

const LOADER = { options: {}, load: refuse, sanitize: refuse, http: refuse, file: refuse };

globalThis.draw = function (text) {
  const warnings = [];
  const say = (parts) => parts.map((part) => part?.message ?? String(part)).join(" ");
  const logger = {
    level() { return this; },
    error(...parts) { throw new Error(say(parts)); },
    warn(...parts) {
      const told = say(parts);
      // Of a layer without a row, as of intervals that are all unknown: there is nothing to draw.
      if (!told.startsWith('Infinite extent')) warnings.push(told);
      return this;
    },
    info() { return this; },
    debug() { return this; },
  };
  vega.textMetrics.width = textWidth;
  const compiled = vegaLite.compile(JSON.parse(text), { logger, config: CONFIG });
  const view = new vega.View(vega.parse(compiled.spec), { renderer: "none", loader: LOADER, logger });
  return view.toSVG().then((svg) => {
    if (outside) throw new Error("a plot reads nothing but the answer's rows");
    return JSON.stringify({ svg, warnings });
  });
};
