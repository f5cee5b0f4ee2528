// History, saved ground truth and diagnostics as lists.

import { fill, make } from "/elements.js";

const LEVELS = { ok: "good", warning: "warn", error: "bad", stale: "warn" };
const time = (seconds) => new Date(1000 * seconds).toLocaleTimeString();

export function showHistory(list, entries, selected, statuses, onselect) {
  fill(list, ...[...entries].reverse().map((entry) => {
    const words = statuses[entry.status];
    const title = entry.is_open ? "thinking" : words ? words.title : entry.question ? "no answer" : "held image";
    return make("li", {}, make("button", {
      type: "button", className: "card", "data-key": `entry-${entry.number}`,
      "aria-current": String(entry.number === selected), onclick: () => onselect(entry.number),
    },
      entry.has_image ? make("img", { src: `/answers/${entry.number}/thumbnail.jpg`, alt: "", loading: "lazy" }) : "",
      make("small", {}, entry.question || "without a question"),
      make("small", { className: "dim" }, `${title}${entry.mark ? `, ${entry.mark}` : ""}${entry.saved ? ", saved" : ""}, ${time(entry.asked_s)}`),
    ));
  }));
}

export function showTruths(list, truths, ondelete) {
  fill(list, ...truths.saved.map((one) => make("li", { className: "card chip" },
    make("img", { src: `/truths/${one.name}.jpg`, alt: `truth of ${one.question}`, loading: "lazy" }),
    make("small", {}, one.question),
    make("small", { className: "dim" }, one.is_empty ? "nothing fits" : "", one.iou === null ? " not asked" : ` IoU ${one.iou.toFixed(2)}`),
    make("button", { type: "button", "data-key": `delete-${one.name}`, "aria-label": `Delete ${one.name}`, onclick: () => ondelete(one.name) }, "Delete"),
  )));
}

export function scoreText({ saved, asked, giou, ciou }) {
  if (!saved) return "Nothing is saved yet.";
  const count = `${saved} saved`;
  if (giou === null) return `${count}; none of them was asked.`;
  const part = asked < saved ? `, ${asked} of them asked` : "";
  return `${count}${part}: gIoU ${giou.toFixed(3)}${ciou === null ? "" : `, cIoU ${ciou.toFixed(3)}`}`;
}

export function showDiagnostics(list, diagnostics) {
  fill(list, ...diagnostics.flatMap((status) => [
    make("dt", {}, `${status.name}: `, make("span", { className: LEVELS[status.level] }, status.level)),
    make("dd", {}, status.message, make("div", { className: "dim" }, status.values.map(([key, value]) => `${key} ${value}`).join(" · "))),
  ]));
}

export function showErrors(list, errors) {
  const items = [...errors].reverse().map(({ at_s: atS, text }) => make("li", {}, `${time(atS)} ${text}`));
  fill(list, ...(items.length ? items : [make("li", { className: "dim" }, "none")]));
}
