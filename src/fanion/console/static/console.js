// What the console's pages do in a browser: they look again, and draw lines. Everything is readable without it.
"use strict";
(() => {
  const charts = new Map();

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const clock = (at) => new Date(at * 1000).toISOString().slice(11, 19);

  function options(names, width) {
    const grid = { stroke: colour("--line"), width: 1 };
    const axis = { stroke: colour("--soft"), grid, ticks: grid, font: "11px system-ui" };
    return {
      width, height: 170, tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
      legend: { live: false }, cursor: { drag: { x: false, y: false } },
      scales: { y: { range: (_, low, high) => [0, Math.max(high, 1)] } },
      axes: [{ ...axis, space: 90, values: (_, times) => times.map(clock) }, { ...axis, size: 52 }],
      series: [{}, ...names.map((label, number) =>
        ({ label, stroke: colour(`--c${number % 6}`), width: 1.75, points: { show: false } }))],
    };
  }

  function draw(place) {
    if (typeof uPlot === "undefined") return;
    const { at, series } = JSON.parse(place.dataset.chart);
    if (at.length < 2) { place.textContent = "The line begins in a moment."; place.classList.add("hint"); return; }
    const names = series.map((one) => one.name);
    const data = [at, ...series.map((one) => one.values)];
    place.textContent = "";
    charts.forEach((chart) => chart.destroy());
    charts.clear();
    charts.set(place, new uPlot(options(names, place.clientWidth), data, place));
  }

  // What is wider than its place is scrolled by keyboard, too.
  const reach = () => document.querySelectorAll(".wide").forEach((place) => {
    if (place.scrollWidth > place.clientWidth) place.tabIndex = 0; else place.removeAttribute("tabindex");
  });

  const drawAll = (root) => root.querySelectorAll("[data-chart]").forEach(draw);

  document.addEventListener("DOMContentLoaded", () => {
    drawAll(document);
    reach();
    document.querySelectorAll("[data-every]").forEach((place) => setInterval(() => {
      if (!document.hidden && !place.contains(document.activeElement)) htmx.trigger(place, "look");
    }, Number(place.dataset.every)));
    let waiting;
    addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(() => { drawAll(document); reach(); }, 150); });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll(document));
  });
  // Numbers that nobody renews are said to be old; whose session is over sees the door.
  for (const name of ["htmx:sendError", "htmx:timeout", "htmx:responseError"]) {
    document.addEventListener(name, (event) => {
      if (event.detail.xhr.status === 401) location.reload();
      document.body.classList.add("stale");
    });
  }
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.successful) document.body.classList.remove("stale");
  });
  document.addEventListener("htmx:afterSwap", (event) => { drawAll(event.target); reach(); });
})();
