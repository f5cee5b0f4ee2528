// The panel of one answer: its status in plain words, its regions, marks, corrections and saving.

import { fill, make } from "/elements.js";
import { cssColor } from "/masks.js";

const MARKS = [["right", "Right", "r"], ["wrong", "Wrong", "w"], ["nothing", "Nothing fits", "n"]];

/** `on` has mark(name), select(index), toggle(index, isOn), show(index, isShown), undo(), save(question), cancel(). */
export function showAnswer(panel, state, on) {
  const { entry, correction, statuses } = state;
  const words = statuses[entry.status];
  const title = entry.is_open ? "Thinking …" : words ? words.title : entry.question ? "No answer" : "Held image";
  const tone = entry.status === "ok" || entry.status === "no_target" ? "good" : entry.is_open || !entry.question ? "" : "warn";
  const times = entry.total_s === undefined ? "" :
    `${entry.total_s} s (reasoning ${entry.reasoning_s} s, segmenting ${entry.segmenting_s} s)`;
  fill(
    panel,
    make("p", { className: `status ${tone}`, id: "status" }, title),
    make("p", {}, make("strong", {}, entry.question || "without a question")),
    line(entry.question ? entry.error : "", "reason"),
    line(words && words.remedy, "dim"),
    line(entry.confidence === null ? "" : `Confidence ${Math.round(100 * entry.confidence)} %`, ""),
    line(secondBest(entry.alternative), ""),
    line(entry.thought && `“${entry.thought}”`, "dim"),
    line(times, "dim"),
    line(entry.warning_3d, "dim"),
    entry.is_open || stands(entry) ? make("button", { type: "button", onclick: on.cancel, "data-key": "cancel" }, entry.is_open ? "Cancel" : "Stop") : "",
    make("ul", { className: "targets", id: "targets" }, ...correction.targets.map((target) => targetItem(target, state, on))),
    entry.has_image ? corrections(state, on) : line(entry.is_open ? "" : "The image of this answer is not cached, so it cannot be corrected or saved.", "dim"),
  );
}

function stands({ mode, error }) {
  return (mode === "track" || mode === "watch") && !error;
}

function secondBest(alternative) {
  if (!alternative) return "";
  const names = alternative.map(({ label, box_xyxy }) => `${label || "a target"} in the box ${box_xyxy.map(Math.round).join(", ")}`);
  return `Second best: ${names.join("; ") || "nothing fits"}.`;
}

function line(text, className) {
  return text ? make("p", { className }, text) : "";
}

function targetItem(target, { correction }, on) {
  const swatch = make("span", { className: "swatch" });
  swatch.style.background = cssColor(target.index);
  const isSelected = correction.selected === target.index;
  return make(
    "li", {},
    swatch,
    make("span", { className: "words" }, target.name, make("small", { className: "dim" }, ...details(target))),
    checkbox("show", target.isShown, `shown-${target.index}`, (isOn) => on.show(target.index, isOn)),
    checkbox("belongs", target.isOn, `on-${target.index}`, (isOn) => on.toggle(target.index, isOn)),
    make("button", {
      type: "button", "aria-pressed": String(isSelected), "data-key": `edit-${target.index}`,
      onclick: () => on.select(target.index),
    }, "Edit"),
  );
}

function checkbox(text, isOn, key, onchange) {
  const box = make("input", { type: "checkbox", checked: isOn, "data-key": key });
  box.addEventListener("change", () => onchange(box.checked));
  return make("label", {}, box, ` ${text}`);
}

function details({ region, mask, points }) {
  const parts = [];
  if (region) {
    parts.push(`mask score ${region.mask_score}, agreement with the box ${region.box_iou}`);
    if (region.track_state) parts.push(`${region.track_state} (${region.track_id})`);
    if (region.place) {
      parts.push(`at ${region.place.center_m.join(", ")} m in ${region.place.frame}, size ${region.place.size_m.join(" × ")} m`);
    } else if (region.error_3d) parts.push(`no position: ${region.error_3d}`);
  }
  if (points.length) parts.push(`${points.length} points`);
  if (!mask) parts.push("no mask yet: drag a box");
  return parts.map((part) => make("div", {}, part));
}

function corrections({ entry, correction, question }, on) {
  const needed = entry.mark === "nothing" || correction.pieces.length > 0 || (entry.mark === "right" && entry.status === "no_target");
  const asked = make("input", {
    id: "truth-question", value: question, maxLength: 4000, "data-key": "truth-question", "aria-label": "Question of the truth",
  });
  asked.addEventListener("input", () => on.question(asked.value));
  const why = entry.saved ? `Saved as ${entry.saved}.` : needed ? "" : "Mark the answer or correct it to save it.";
  return make(
    "div", {},
    make("div", { className: "tools", role: "group", "aria-label": "Mark" },
      ...MARKS.map(([name, text, key]) => make("button", {
        type: "button", "aria-pressed": String(entry.mark === name), title: `key ${key}`, "data-key": `mark-${name}`,
        onclick: () => on.mark(entry.mark === name ? "" : name),
      }, text)),
      make("button", { type: "button", disabled: !correction.canUndo, onclick: on.undo, "data-key": "undo-edit", title: "key u" }, "Undo edit"),
    ),
    make("p", { className: "dim" }, "Drag a box for a new target. To correct the target in Edit, click what is missing. Right-click or Shift-click what is too much."),
    make("label", {}, "Question ", asked),
    make("div", { className: "tools" },
      make("button", { type: "button", id: "save", disabled: !needed, onclick: on.save, "data-key": "save", title: "key s" }, "Save as ground truth"),
      make("span", { className: "dim", id: "saved" }, why),
    ),
  );
}
