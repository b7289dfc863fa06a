"use strict";
// Images, their score maps and what is kept of them: drawn from the order of the patches.
(() => {
  const data = JSON.parse(document.getElementById("gallery").textContent);
  if (!data.images.length) return;
  const byId = (id) => document.getElementById(id);
  const [find, source, ratio, cards, closer] = ["find", "source", "ratio", "cards", "closer"].map(byId);
  const made = (tag, text) => Object.assign(document.createElement(tag), text === undefined ? {} : { textContent: text });
  const STRENGTH = 0.6;

  const kept = (image) => data.kept[image.grid ** 2][ratio.value];
  const orderOf = (image, name) => image.orders.find((order) => order.source === name);

  function cell(image, canvas, patch) {
    const side = canvas.width / image.grid;
    return [(patch % image.grid) * side, Math.floor(patch / image.grid) * side, side, side];
  }
  function sized(image, canvas) {
    canvas.width = canvas.height = image.photo.naturalWidth;
    return canvas.getContext("2d");
  }
  function drawMap(image, order, canvas) {
    const context = sized(image, canvas);
    context.filter = "grayscale(1)";
    context.drawImage(image.photo, 0, 0);
    context.filter = "none";
    context.globalAlpha = STRENGTH;
    order.shade.forEach((shade, patch) => {
      if (shade < 0) return;
      context.fillStyle = data.colours[shade];
      context.fillRect(...cell(image, canvas, patch));
    });
  }
  function drawKept(image, order, canvas) {
    const context = sized(image, canvas), count = kept(image);
    context.drawImage(image.photo, 0, 0);
    context.fillStyle = getComputedStyle(document.body).getPropertyValue("--hidden");
    order.place.forEach((place, patch) => {
      if (place >= count) context.fillRect(...cell(image, canvas, patch));
    });
  }
  function drawPhoto(image, canvas) {
    sized(image, canvas).drawImage(image.photo, 0, 0);
  }

  function drawCard(image) {
    const order = source && orderOf(image, source.value);
    const [photo, map, rest] = image.card.querySelectorAll("canvas");
    drawPhoto(image, photo);
    if (order) {
      drawMap(image, order, map);
      drawKept(image, order, rest);
    }
  }
  function draw() {
    const wanted = find.value.trim().toLowerCase();
    let shown = 0;
    for (const image of data.images) {
      const hasScores = !source || Boolean(orderOf(image, source.value));
      const visible = hasScores && `${image.shard}/${image.key}`.toLowerCase().includes(wanted);
      image.card.hidden = !visible;
      image.card.style.display = visible ? "" : "none";
      shown += visible;
      if (visible && image.photo.complete) drawCard(image);
    }
    byId("found").textContent = shown === data.images.length ? "" : `${shown} of ${data.images.length} images`;
    if (ratio) {
      const counts = Object.entries(data.kept).map(([size, each]) => `${each[ratio.value]} of ${size}`);
      byId("told").textContent = `${Math.round(100 * data.ratios[ratio.value])}% – ${counts.length === 1 ? counts[0] : "of the"} patches`;
    }
    if (closer.open) drawPanes(closer.image);
  }

  function pane(caption, picture) {
    const figure = made("figure");
    figure.append(picture, made("figcaption", caption));
    byId("panes").append(figure);
  }
  function pointed(image, order, canvas) {
    canvas.addEventListener("pointermove", (event) => {
      const box = canvas.getBoundingClientRect();
      const [column, row] = [event.clientX - box.left, event.clientY - box.top].map((at) =>
        Math.min(image.grid - 1, Math.max(0, Math.floor((at / box.width) * image.grid))),
      );
      const place = order.place[row * image.grid + column] + 1;
      byId("patch").textContent = `Patch in row ${row}, column ${column}: place ${place} of ${image.grid ** 2} by ${order.source}.`;
    });
  }
  function drawPanes(image) {
    byId("panes").replaceChildren();
    const photo = made("canvas");
    drawPhoto(image, photo);
    pane("image", photo);
    for (const order of image.orders) {
      const [map, rest] = [made("canvas"), made("canvas")];
      drawMap(image, order, map);
      drawKept(image, order, rest);
      [map, rest].forEach((canvas) => pointed(image, order, canvas));
      pane(`${order.source}: scores`, map);
      pane(`${order.source}: ${kept(image)} of ${image.grid ** 2} patches kept`, rest);
    }
    for (const [what, picture] of image.reconstructions) pane(what, Object.assign(made("img"), { src: picture, alt: what }));
  }
  function look(image) {
    byId("key").textContent = image.key;
    byId("shard").textContent = image.shard;
    closer.image = image;
    drawPanes(image);
    closer.showModal();
  }

  for (const image of data.images) {
    const card = made("button"), strip = made("div");
    card.className = "card";
    card.type = "button";
    card.title = `${image.shard}/${image.key}`;
    strip.className = image.orders.length ? "strip" : "strip single";
    strip.append(...Array.from({ length: image.orders.length ? 3 : 1 }, () => made("canvas")));
    card.append(strip, made("p", image.key));
    card.addEventListener("click", () => look(image));
    cards.append(card);
    image.card = card;
    image.photo = new Image();
    image.photo.onload = () => drawCard(image);
    image.photo.src = image.picture;
  }
  const scale = document.querySelector(".scale b");
  if (scale) scale.style.background = `linear-gradient(90deg, ${data.colours.filter((_, number) => number % 32 === 0 || number === 255).join(",")})`;
  for (const control of [find, source, ratio]) control?.addEventListener("input", draw);
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  closer.addEventListener("click", (event) => event.target === closer && closer.close());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
})();
