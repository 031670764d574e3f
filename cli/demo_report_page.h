// Style and script of the demo's report (demo_report.cpp fills in the rest). Without script the four versions of a picture
// stand side by side; the script turns them into a slider moved by pointer, finger or keyboard.
#pragma once

namespace relume {

inline constexpr const char* report_style = R"css(
:root { color-scheme: light dark;
  --page: #f7f6f3; --card: #ffffff; --ink: #1c1d20; --soft: #63666d; --line: #e3e1db; --accent: #0a6cb5; --good: #0d7a4f;
  --raw: #9cc3e0; --shadow: 0 1px 2px #0000000f, 0 6px 24px #0000000d; }
@media (prefers-color-scheme: dark) { :root {
  --page: #131417; --card: #1c1e22; --ink: #ececee; --soft: #9c9fa8; --line: #31343b; --accent: #62b5f2; --good: #5fcf9b;
  --raw: #335a78; --shadow: none; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, "Segoe UI", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 48px 20px 64px; }
header p, section > p { max-width: 68ch; }
h1 { font-size: clamp(1.7rem, 4vw, 2.4rem); line-height: 1.15; letter-spacing: -.02em; margin: 0 0 .4em; text-wrap: balance; }
h2 { font-size: 1.25rem; letter-spacing: -.01em; margin: 56px 0 14px; }
.soft, figcaption span { color: var(--soft); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 14px; box-shadow: var(--shadow); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 14px; margin-top: 28px; }
.tile { padding: 16px 20px; }
.tile b { display: block; font-size: 1.9rem; line-height: 1.2; letter-spacing: -.02em; font-variant-numeric: tabular-nums; }
.tile b small { font-size: 1rem; font-weight: 500; letter-spacing: 0; }
.tile.ours b { color: var(--accent); }
.tile span { color: var(--soft); font-size: .9rem; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 440px), 1fr)); gap: 20px; }
figure { margin: 0; overflow: hidden; }
figcaption { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 2px 14px; padding: 12px 16px 10px;
  font-size: .92rem; }
figcaption b { overflow-wrap: anywhere; }
.views { display: grid; grid-template-columns: 1fr 1fr; gap: 2px; }
.views div { position: relative; }
.views img { display: block; width: 100%; height: auto; }
.views div::after { content: attr(data-label); position: absolute; top: 10px; left: 10px; padding: 2px 9px; border-radius: 99px;
  background: #000000a8; color: #fff; font-size: .78rem; pointer-events: none; }
.compare { position: relative; display: block; cursor: ew-resize; touch-action: pan-y; user-select: none; }
.compare div { display: none; }
.compare .under, .compare .over { display: block; }
.compare .over { position: absolute; inset: 0; clip-path: inset(0 0 0 var(--split)); }
.compare .over::after { left: auto; right: 10px; }
.compare .bar { display: block; position: absolute; inset: 0 auto 0 var(--split); width: 2px; margin-left: -1px;
  background: #fff; box-shadow: 0 0 6px #0009; pointer-events: none; }
.compare .bar::after { content: "\2194"; display: grid; place-items: center; position: absolute; top: 50%; left: 50%;
  width: 36px; height: 36px; padding: 0; margin: -18px 0 0 -18px; border-radius: 50%; background: #fff; color: #222;
  font-size: 1.1rem; box-shadow: 0 1px 6px #0008; }
.compare input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0; pointer-events: none; }
.compare:focus-within { outline: 3px solid var(--accent); outline-offset: -3px; }
.pairs { display: flex; flex-wrap: wrap; gap: 6px; padding: 0 16px 14px; }
.pairs button { font: inherit; font-size: .84rem; padding: 4px 12px; border-radius: 99px; border: 1px solid var(--line);
  background: none; color: var(--soft); cursor: pointer; }
.pairs button[aria-pressed=true] { background: var(--accent); border-color: var(--accent); color: var(--card); }
.pairs button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; min-width: 700px; font-variant-numeric: tabular-nums; }
th, td { padding: 9px 14px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; font-size: .86rem; }
thead th { color: var(--soft); }
thead tr:first-child th { border-bottom: 0; padding-bottom: 0; text-align: center; color: var(--ink); }
tr > :first-child { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 9.5em; }
td.first, th.first { border-left: 1px solid var(--line); }
tfoot td, tfoot th { border-bottom: 0; font-weight: 700; font-size: 1rem; }
td.best { color: var(--good); font-weight: 700; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: 20px; }
.charts > div { padding: 16px 16px 8px; }
.charts h3 { font-size: 1rem; margin: 0 0 6px; }
.chart { width: 100%; height: auto; display: block; }
.chart .grid { stroke: var(--line); } .chart .axis { stroke: var(--soft); }
.chart .tick { fill: var(--soft); font-size: 12.5px; font-variant-numeric: tabular-nums; }
.chart polyline { fill: none; stroke: var(--accent); stroke-width: 2; stroke-linejoin: round; }
.chart .raw { stroke: var(--raw); stroke-width: 1; }
.chart .dot { fill: var(--accent); stroke: var(--card); stroke-width: 1.5; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 6px 24px; margin: 0; padding: 18px 20px; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 560px) { main { padding-top: 28px; } dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 10px; }
  .chart .tick { font-size: 17px; } th, td { padding: 8px 10px; } h2 { margin-top: 40px; } }
@media print { .pairs { display: none; } }
)css";

inline constexpr const char* report_script = R"js(
const pairs = [["degraded", "restored"], ["filtered", "restored"], ["restored", "truth"], ["degraded", "truth"]];
for (const figure of document.querySelectorAll("figure")) {
  const views = figure.querySelector(".views");
  const view = name => views.querySelector(`[data-view=${name}]`);
  const bar = views.appendChild(Object.assign(document.createElement("div"), { className: "bar" }));
  const range = views.appendChild(Object.assign(document.createElement("input"), { type: "range", min: 0, max: 100, step: 1 }));
  range.setAttribute("aria-label", "Divide between the two versions of " + figure.querySelector("b").textContent);
  const move = value => { range.value = value; views.style.setProperty("--split", Math.min(100, Math.max(0, value)) + "%"); };
  const follow = event => {
    const box = views.getBoundingClientRect();
    move(100 * (event.clientX - box.left) / box.width);
  };
  range.addEventListener("input", () => move(Number(range.value)));
  views.addEventListener("pointerdown", event => {
    if (event.button) return;
    event.preventDefault();
    views.setPointerCapture(event.pointerId);
    range.focus({ preventScroll: true, focusVisible: false });
    follow(event);
  });
  views.addEventListener("pointermove", event => { if (views.hasPointerCapture(event.pointerId)) follow(event); });

  const choices = document.createElement("div");
  choices.className = "pairs";
  choices.setAttribute("role", "group");
  choices.setAttribute("aria-label", "Versions to compare");
  const buttons = pairs.map(([left, right]) => {
    const button = choices.appendChild(document.createElement("button"));
    button.type = "button";
    button.textContent = view(left).dataset.label + " | " + view(right).dataset.label;
    button.addEventListener("click", () => choose(left, right, button));
    return button;
  });
  const choose = (left, right, button) => {
    for (const v of views.querySelectorAll("[data-view]")) v.className = "";
    view(left).className = "under";
    view(right).className = "over";
    for (const b of buttons) b.setAttribute("aria-pressed", b === button);
  };
  figure.append(choices);
  views.classList.add("compare");
  choose(...pairs[0], buttons[0]);
  move(50);
}
)js";

}  // namespace relume
