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
    /* A browser that comes back to the page fills in what was typed before. */
    addEventListener("pageshow", apply);
    apply();
  }

  /* Pictures. The library that draws them is packed in the page: a third of its size. */
  const library = async () => {
    const packed = Uint8Array.from(atob(document.getElementById("plotting").textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  };
  const ready = library();
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const pictures = [];
  const ERRORS = 1;

  /* One drawing of a picture after the other, each of the choices of its moment: the last stands.
     The page says when none is under way. */
  let underWay = 0;
  const draw = (picture) => {
    document.body.dataset.drawn = "no";
    underWay += 1;
    /* A drawing that failed does not keep the next from being drawn. */
    picture.last = (picture.last ?? ready).catch(() => {}).then(() => drawn(picture)).finally(() => {
      underWay -= 1;
      if (!underWay) document.body.dataset.drawn = "yes";
    });
    return picture.last;
  };
  const drawn = async (picture) => {
    const { place, made } = picture;
    const { spec, datasets, table } = made();
    picture.view?.finalize();
    picture.view = null;
    place.replaceChildren();
    if (table) fill(...table);
    if (!datasets.rows.length) { place.textContent = data.words["Nothing to draw: choose others."]; return; }
    const config = structuredClone(dark.matches ? data.themes.dark : data.themes.light);
    const full = structuredClone(spec);
    full.datasets = datasets;
    full.width = place.clientWidth / 2;
    if (place.clientWidth < 560) shorten(full);
    /* ast: expressions are interpreted, so the page needs no right to evaluate code. */
    const { view } = await vegaEmbed(place, full, { config, actions: false, renderer: "svg", ast: true, mode: "vega-lite", logLevel: ERRORS });
    picture.view = view;
    /* What labels and legend leave of the width. */
    const whole = place.querySelector("svg").width.baseVal.value;
    await view.width(Math.max(120, view.width() + place.clientWidth - whole)).runAsync();
  };

  /* The same as text, for those who do not see the picture. */
  const fill = (id, lines) => {
    const body = document.getElementById(id).tBodies[0];
    body.replaceChildren(...lines.map((cells) => {
      const row = document.createElement("tr");
      cells.forEach((text, place) => {
        const cell = document.createElement(place ? "td" : "th");
        if (!place) cell.scope = "row";
        cell.textContent = text ?? "–";
        row.append(cell);
      });
      return row;
    }));
  };

  /* A phone has less room for names: of tasks beside the plot, of types and models above it. */
  const shorten = (part) => {
    for (const [name, value] of Object.entries(part)) {
      if (name === "datasets" || value === null || typeof value !== "object") continue;
      if (name === "axis" && "labelLimit" in value) value.labelLimit = 130;
      if (name === "legend") Object.assign(value, { columns: 1, labelLimit: 320 });
      shorten(value);
    }
  };
  const drawAll = () => Promise.all(pictures.map(draw));
  const add = (place, controls, made) => {
    const picture = { place, made };
    pictures.push(picture);
    for (const control of controls) control.addEventListener("input", () => draw(picture));
  };

  data.suites.forEach((suite, number) => {
    const at = (id) => document.getElementById(`${id}-${number}`);
    const baseline = at("baseline"), model = at("model"), boxes = at("profile-models");
    if (baseline) {
      add(at("differences"), [baseline, model], () => {
        const rows = differences(suite, suite.models[model.value], suite.models[baseline.value]);
        const told = rows.map((row) => [
          row.task, row.score.toFixed(4), row.baseline.toFixed(4),
          (row.difference < 0 ? "−" : "+") + Math.abs(row.difference).toFixed(4), row.kind,
        ]);
        return { spec: data.specs.differences, datasets: { rows }, table: [`differences-table-${number}`, told] };
      });
    }
    add(at("profile"), [boxes], () => {
      const ticked = [...boxes.querySelectorAll("input:checked")].map((box) => suite.models[box.value]);
      return { spec: data.specs.profile, datasets: { rows: ticked.flatMap((model) => profile(suite, model)) } };
    });
  });
  const run = document.getElementById("time-run");
  if (run) {
    add(document.getElementById("time"), [run], () => {
      const time = data.times[run.value];
      const rows = time.tasks.flatMap(([task, values]) =>
        data.parts.flatMap((part, order) => values[order] === null ? [] : [{ task, part, order, time: values[order] }]));
      const planned = time.tasks.flatMap(([task, values]) => values.at(-1) === null ? [] : [{ task, time: values.at(-1) }]);
      const spec = data.specs.times[time.unit][planned.length ? 1 : 0];
      return { spec, datasets: { rows, planned }, table: ["time-table", time.tasks.map(([task, values]) => [task, ...values])] };
    });
  }

  function profile(suite, model) {
    return suite.types.flatMap((type, place) =>
      model.means[place] === null ? [] : [{ model: model.name, type, score: model.means[place] }]);
  }

  /* As the verdicts judge: what is within the band, beyond it, or of another definition. */
  function differences(suite, model, baseline) {
    const [within, beyond, other] = data.kinds;
    return suite.tasks.flatMap((task, place) => {
      const score = model.scores[place], base = baseline.scores[place];
      if (score === null || base === null) return [];
      const difference = Math.round((score - base) * 1e4) / 1e4;
      const tolerance = baseline.tolerances[place] ?? data.tolerance;
      const redefined = model.redefined.includes(place) || baseline.redefined.includes(place);
      const kind = redefined ? other : Math.abs(difference) > tolerance + 1e-9 ? beyond : within;
      return [{ task: task.name, type: task.type, score, baseline: base, difference, tolerance, kind }];
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
  drawAll();
})();
