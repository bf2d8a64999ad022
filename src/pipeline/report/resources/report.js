// Draws the charts listed in the page's JSON block with Chart.js, again whenever the colours change.
(() => {
  "use strict";
  const specs = JSON.parse(document.getElementById("charts").textContent);
  const drawn = [];
  const color = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const faded = (hex, alpha) => hex + Math.round(alpha * 255).toString(16).padStart(2, "0");
  const text = (spec, value) => spec.percent
    ? (value * 100).toFixed(spec.decimals) + " %" : value.toFixed(spec.decimals);
  const dashes = [[], [6, 3], [2, 3], [9, 3, 2, 3]];

  // Fewer decimals than the tables show, but enough to tell the ticks apart.
  function ticks(spec) {
    return function (value, index, all) {
      const scale = spec.percent ? 100 : 1;
      const step = all.length > 1 ? Math.abs(all[1].value - all[0].value) * scale : 1;
      const digits = Math.min(5, Math.max(0, Math.ceil(-Math.log10(step) - 1e-9)));
      return (value * scale).toFixed(digits) + (spec.percent ? " %" : "");
    };
  }

  function axis(title, more) {
    return Object.assign({
      title: { display: Boolean(title), text: title, color: color("--quiet") },
      grid: { color: color("--rule"), borderColor: color("--rule"), drawTicks: false },
      ticks: { color: color("--quiet"), padding: 6, maxRotation: 0, autoSkipPadding: 14 },
    }, more);
  }

  function base(spec) {
    return {
      responsive: true, maintainAspectRatio: false, animation: false,
      interaction: { mode: "nearest", axis: "x", intersect: false },
      plugins: {
        legend: {
          position: "top", align: "start",
          labels: {
            color: color("--ink"), boxWidth: 22, boxHeight: 8, usePointStyle: true, pointStyle: "line",
            filter: (item, data) => {
              const group = data.datasets[item.datasetIndex].group;
              return data.datasets.findIndex(set => set.group === group) === item.datasetIndex;
            },
            generateLabels: chart => Chart.defaults.plugins.legend.labels.generateLabels(chart)
              .map(item => Object.assign(item, {
                text: chart.data.datasets[item.datasetIndex].group, lineDash: [], lineWidth: 3,
              })),
          },
          onClick: (event, item, legend) => {
            const sets = legend.chart.data.datasets, group = sets[item.datasetIndex].group;
            const show = !legend.chart.isDatasetVisible(item.datasetIndex);
            sets.forEach((set, index) => {
              if (set.group === group) legend.chart.setDatasetVisibility(index, show);
            });
            legend.chart.update();
          },
        },
        tooltip: {
          callbacks: {
            title: items => {
              if (!items.length) return "";
              const index = items[0].dataIndex, note = spec.xNote[index];
              return `${spec.xTitle}: ${spec.x[index]}` + (note ? ` (${note} rows)` : "");
            },
            label: item => ` ${item.dataset.label}: ${text(spec, item.parsed.y)}`,
          },
        },
      },
    };
  }

  function lines(spec) {
    const filled = spec.kind === "steps";
    const seen = {};
    const datasets = spec.series.map(series => {
      const ink = color(series.color), nth = seen[series.group] = (seen[series.group] ?? -1) + 1;
      return {
        label: series.name, group: series.group, data: series.values, spanGaps: false,
        borderColor: ink, backgroundColor: filled ? faded(ink, .18) : ink,
        borderWidth: 2, borderDash: dashes[nth % dashes.length], tension: 0,
        stepped: filled ? "middle" : false, fill: filled ? "origin" : false,
        pointRadius: series.values.map((_, i) => filled ? 0 : i === series.mark ? 6 : 2.5),
        pointBackgroundColor: series.values.map((_, i) => i === series.mark ? color("--card") : ink),
        pointBorderColor: ink, pointBorderWidth: series.values.map((_, i) => i === series.mark ? 2.5 : 0),
        pointHoverRadius: filled ? 0 : 5,
      };
    });
    const options = base(spec);
    if (filled) options.interaction = { mode: "index", intersect: false };
    options.scales = {
      x: axis(spec.xTitle, { grid: { display: false, borderColor: color("--rule") } }),
      y: axis("", { beginAtZero: filled }),
    };
    options.scales.y.ticks.callback = ticks(spec);
    options.scales.y.grace = filled ? 0 : "4%";
    return { type: "line", data: { labels: spec.x.map((x, i) => spec.xNote.length ? [x, spec.xNote[i]] : x), datasets },
             options, plugins: [roomyLegend] };
  }

  // One row per variant: interval as a bar, seeds as dots, the mean as a ring.
  function interval(spec) {
    const datasets = [];
    spec.series.forEach((series, row) => {
      const ink = color(series.color);
      const shared = { group: series.name, borderColor: ink, backgroundColor: ink };
      const dot = value => ({ x: value, y: row });
      if (series.mean !== null) {
        datasets.push({ ...shared, label: `${series.name}, mean`, data: [dot(series.mean)], pointRadius: 7,
          pointHoverRadius: 8, pointBorderWidth: 3, pointBackgroundColor: color("--card") });
      }
      datasets.push({ ...shared, label: series.name, names: spec.x, pointRadius: 3.5, pointBorderWidth: 0,
        data: series.values.map(dot).filter(point => point.x !== null) });
      if (series.low !== null && series.high !== null) {
        datasets.push({ ...shared, label: `${series.name}, interval`, data: [dot(series.low), dot(series.high)],
          showLine: true, borderWidth: 9, borderColor: faded(ink, .25), pointRadius: 0, pointHitRadius: 8 });
      }
    });
    const first = spec.series[0];
    if (first && first.mean !== null) {
      datasets.push({ group: "", label: `${first.name}, mean`, showLine: true, pointRadius: 0, pointHitRadius: 0,
        borderColor: color("--quiet"), borderWidth: 1, borderDash: [4, 4],
        data: [{ x: first.mean, y: -.5 }, { x: first.mean, y: spec.series.length - .5 }] });
    }
    const options = base(spec);
    options.interaction = { mode: "nearest", intersect: true };
    options.plugins.legend.display = false;
    options.plugins.tooltip.callbacks = {
      title: () => "",
      label: item => ` ${item.dataset.names ? item.dataset.names[item.dataIndex] + ", " : ""}${item.dataset.label}: ${text(spec, item.parsed.x)}`,
    };
    options.scales = {
      x: axis(spec.xTitle, { grace: "6%" }),
      y: axis("", { reverse: true, min: -.5, max: spec.series.length - .5,
                    grid: { display: false, borderColor: color("--rule") } }),
    };
    options.scales.x.ticks.callback = ticks(spec);
    options.scales.y.ticks.color = color("--ink");
    options.scales.y.ticks.autoSkip = false;
    options.scales.y.afterBuildTicks = scale => { scale.ticks = spec.series.map((_, row) => ({ value: row })); };
    options.scales.y.ticks.callback = value => {
      const name = spec.series[value] ? spec.series[value].name : "";
      return name.length > 18 ? name.slice(0, 17) + "…" : name;
    };
    return { type: "scatter", data: { datasets }, options };
  }

  // Room between legend and plot, which the library does not offer.
  const roomyLegend = {
    id: "roomyLegend",
    beforeInit: chart => {
      const fit = chart.legend.fit;
      chart.legend.fit = function () { fit.call(this); this.height += 8; };
    },
  };

  function draw() {
    drawn.splice(0).forEach(chart => chart.destroy());
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    for (const spec of specs) {
      const canvas = document.getElementById(spec.id);
      drawn.push(new Chart(canvas, spec.kind === "interval" ? interval(spec) : lines(spec)));
    }
  }

  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  // Printing: light colours, chains of thought unfolded.
  let opened = [];
  addEventListener("beforeprint", () => {
    document.documentElement.dataset.theme = "light";
    opened = [...document.querySelectorAll("details:not(.data):not([open])")];
    opened.forEach(details => { details.open = true; });
    draw();
  });
  addEventListener("afterprint", () => {
    delete document.documentElement.dataset.theme;
    opened.splice(0).forEach(details => { details.open = false; });
    draw();
  });
})();
