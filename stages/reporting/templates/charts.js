"use strict";
// Plotly lies packed in the page; it is unpacked, started, and given each figure's data.
(async () => {
  const plots = [...document.querySelectorAll(".plot")];
  if (plots.length) {
    const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (letter) => letter.charCodeAt(0));
    const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const program = document.createElement("script");
    program.textContent = await new Response(unpacked).text();
    document.head.append(program);
  }
  // Only what works in the page itself.
  const buttons = [["zoom2d", "pan2d", "resetScale2d", "toImage"]];
  const config = { responsive: true, displaylogo: false, displayModeBar: "hover", modeBarButtons: buttons };
  for (const plot of plots) {
    const figure = JSON.parse(plot.parentElement.querySelector("script").textContent);
    const layout = {
      ...figure.layout,
      margin: { l: 56, r: 16, t: 14, b: 48 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { size: 12.5, family: getComputedStyle(document.body).fontFamily },
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    };
    await Plotly.newPlot(plot, figure.data, layout, config);
  }
  document.documentElement.dataset.plots = plots.length;
})();

// The section that is read is marked in the list of sections.
(() => {
  const links = new Map([...document.querySelectorAll("nav a[href^='#']")].map((link) => [link.hash.slice(1), link]));
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) links.get(entry.target.id)?.classList.toggle("here", entry.isIntersecting);
    },
    { rootMargin: "-20% 0px -70% 0px" },
  );
  document.querySelectorAll("main > section[id]").forEach((section) => watcher.observe(section));
})();
