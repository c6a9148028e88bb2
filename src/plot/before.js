// What Vega and Vega-Lite take from a browser and QuickJS doesn't have.
"use strict";

globalThis.structuredClone = function clone(value) {
  if (value === null || typeof value !== "object") {
    if (typeof value === "function") throw new TypeError("a function can't be cloned");
    return value;
  }
  if (Array.isArray(value)) return value.map(clone);
  if (value instanceof Date) return new Date(value.getTime());
  if (value instanceof RegExp) return new RegExp(value.source, value.flags);
  if (value instanceof Set) return new Set([...value].map(clone));
  if (value instanceof Map) return new Map([...value].map(([key, held]) => [clone(key), clone(held)]));
  const copy = {};
  for (const key of Object.keys(value)) copy[key] = clone(value[key]);
  return copy;
};
