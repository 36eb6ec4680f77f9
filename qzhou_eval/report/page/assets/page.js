"use strict";
/* Sorting, filtering and the reader's choice of models. All text goes in as text, never as markup. */
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const numeric = (text) => { const n = parseFloat(text.replace("–", "")); return Number.isNaN(n) ? null : n; };

  /* Tables: a heading's button sorts by its column; rows without a number stay last. */
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = head.querySelector("button");
      if (!button) return;
      button.addEventListener("click", () => {
        const before = head.getAttribute("aria-sort");
        const text = head.classList.contains("text");
        const descending = before ? before !== "descending" : !text;
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", descending ? "descending" : "ascending");
        const sign = descending ? -1 : 1;
        const rows = [...table.tBodies[0].rows];
        const key = (row) => row.cells[column].textContent;
        rows.sort((a, b) => {
          if (text) return sign * key(a).localeCompare(key(b), undefined, { numeric: true });
          const x = numeric(key(a)), y = numeric(key(b));
          if (x === null || y === null) return (x === null) - (y === null);
          return sign * (x - y);
        });
        table.tBodies[0].append(...rows);
      });
    });
  }

  /* Filters: every control that names a table hides the rows that do not fit all of them. */
  for (const table of document.querySelectorAll("table.sortable")) {
    const controls = [...document.querySelectorAll(`[data-filters="${table.id}"]`)];
    const count = document.querySelector(`[data-counts="${table.id}"]`);
    const apply = () => {
      let shown = 0;
      for (const row of table.tBodies[0].rows) {
        const fits = controls.every((control) => {
          if (control.type === "search") {
            return row.cells[0].textContent.toLowerCase().includes(control.value.trim().toLowerCase());
          }
          return control.value === "" || row.dataset[control.dataset.by] === control.value;
        });
        row.hidden = !fits;
        shown += fits;
      }
      if (count) count.textContent = `${shown} / ${table.tBodies[0].rows.length} ${data.words["rows shown"]}`;
    };
    for (const control of controls) control.addEventListener("input", apply);
  }

  /* Pictures. */
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const pictures = [];
  const ERRORS = 1;

  /* One drawing of a picture after the other, each of the choices of its moment: the last stands.
     The page says when none is under way. */
  let underWay = 0;
  const draw = (picture) => {
    document.body.dataset.drawn = "no";
    underWay += 1;
    picture.last = (picture.last ?? Promise.resolve()).then(() => drawn(picture)).finally(() => {
      underWay -= 1;
      if (!underWay) document.body.dataset.drawn = "yes";
    });
    return picture.last;
  };
  const drawn = async ({ place, spec, datasets }) => {
    const rows = datasets();
    place.replaceChildren();
    if (!rows.rows.length) { place.textContent = data.words["Nothing to compare: no task has a score on both sides."]; return; }
    const narrow = place.clientWidth < 560;
    const config = structuredClone(dark.matches ? data.themes.dark : data.themes.light);
    const full = structuredClone(spec);
    full.datasets = rows;
    full.width = place.clientWidth / 2;
    if (narrow) shorten(full);
    /* ast: expressions are interpreted, so the page needs no right to evaluate code. */
    const { view } = await vegaEmbed(place, full, { config, actions: false, renderer: "svg", ast: true, mode: "vega-lite", logLevel: ERRORS });
    /* What labels and legend leave of the width. */
    const whole = place.querySelector("svg").width.baseVal.value;
    await view.width(Math.max(120, view.width() + place.clientWidth - whole)).runAsync();
  };
  /* A phone has less room for names: of tasks beside the plot, of types and models above it. */
  const shorten = (part) => {
    for (const [name, value] of Object.entries(part)) {
      if (name === "datasets" || value === null || typeof value !== "object") continue;
      if (name === "axis" && "labelLimit" in value) value.labelLimit = 130;
      if (name === "legend") Object.assign(value, { columns: 2, labelLimit: 150 });
      shorten(value);
    }
  };
  const drawAll = () => Promise.all(pictures.map(draw));
  const add = (picture) => { if (picture.place) { pictures.push(picture); } return () => picture.place && draw(picture); };

  data.suites.forEach((suite, number) => {
    const at = (id) => document.getElementById(`${id}-${number}`);
    const baseline = at("baseline"), model = at("model"), boxes = at("profile-models");
    if (baseline) {
      const redraw = add({
        place: at("differences"),
        spec: data.specs.differences,
        datasets: () => ({ rows: differences(suite, suite.models[model.value], suite.models[baseline.value]) }),
      });
      baseline.addEventListener("input", redraw);
      model.addEventListener("input", redraw);
    }
    if (boxes) {
      const redraw = add({
        place: at("profile"),
        spec: data.specs.profile,
        datasets: () => ({ rows: [...boxes.querySelectorAll("input:checked")].flatMap((box) => suite.models[box.value].profile) }),
      });
      boxes.addEventListener("input", redraw);
    }
  });
  data.times.forEach((time, number) => {
    add({
      place: document.getElementById(`time-${number}`),
      spec: time.spec,
      datasets: () => ({ rows: time.rows, planned: time.planned }),
    });
  });

  function differences(suite, model, baseline) {
    return suite.tasks.flatMap((task, place) => {
      const score = model.scores[place], other = baseline.scores[place];
      if (score === null || other === null) return [];
      return [{
        task: task.name, type: task.type, score, baseline: other,
        difference: Math.round((score - other) * 1e4) / 1e4,
        tolerance: baseline.tolerances[place],
      }];
    });
  }

  /* Print shows what is folded of the verdicts. Colours are the style sheet's, not drawn anew: a
     browser does not wait for that. */
  let folded = [];
  window.addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details.printed:not([open])")];
    for (const fold of folded) fold.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const fold of folded) fold.open = false;
    folded = [];
  });

  dark.addEventListener("change", drawAll);
  let width = document.documentElement.clientWidth, later;
  window.addEventListener("resize", () => {
    if (document.documentElement.clientWidth === width) return;
    width = document.documentElement.clientWidth;
    clearTimeout(later);
    later = setTimeout(drawAll, 150);
  });
  if (pictures.length) drawAll();
  else document.body.dataset.drawn = "yes";
})();
