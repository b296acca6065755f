'use strict';

const page = JSON.parse(document.getElementById('data').textContent);
const byId = (id) => document.getElementById(id);
const last = page.scales.length - 1;
const reducedMotion = matchMedia('(prefers-reduced-motion: reduce)');
const kFrameMs = 160;
const kUnknown = 'unknown';

const number = (value, digits) => value === null ? '–' : value.toFixed(digits);
const scaleText = (i) => `s = ${page.scales[i]}`;

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// The probability of the target along the scales, evenly spaced like the slider's positions below.
const chart = {left: 30, right: 308, top: 10, bottom: 92};
chart.x = (i) =>
  last === 0 ? (chart.left + chart.right) / 2 : chart.left + i / last * (chart.right - chart.left);
chart.y = (p) => chart.bottom - p * (chart.bottom - chart.top);

function drawChart(svg, image) {
  const add = (name, attributes, text) => {
    const made = document.createElementNS(svg.namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return svg.appendChild(made);
  };
  for (const p of [0, 0.5, 1]) {
    add('line', {x1: chart.left, x2: chart.right, y1: chart.y(p), y2: chart.y(p), class: 'grid'});
    add('text', {x: chart.left - 10, y: chart.y(p) + 4, 'text-anchor': 'end'}, p);
  }
  const stride = Math.ceil(last / 7) || 1;  // more labels would touch each other
  page.scales.forEach((s, i) => {
    if (i % stride === 0)
      add('text', {x: chart.x(i), y: chart.bottom + 20, 'text-anchor': 'middle'}, s);
  });
  const marker = add('line', {y1: chart.top - 6, y2: chart.bottom + 6, class: 'marker'});
  const judged = [...image.p_target.keys()].filter((i) => image.p_target[i] !== null);
  const points = judged.map((i) => `${chart.x(i)},${chart.y(image.p_target[i])}`);
  add('polyline', {points: points.join(' ')});
  const dots = judged.map((i) => {
    const dot = add('circle', {cx: chart.x(i), cy: chart.y(image.p_target[i]), r: 4});
    dot.classList.toggle('flipped', image.flipped[i]);
    return dot;
  });
  const values = image.p_target.map((p, i) => `${number(p, 2)} at ${scaleText(i)}`);
  svg.setAttribute('aria-label', `Probability of ${image.target}: ${values.join(', ')}`);
  return (i) => {
    marker.setAttribute('x1', chart.x(i));
    marker.setAttribute('x2', chart.x(i));
    dots.forEach((dot, j) => dot.setAttribute('r', i === judged[j] ? 6 : 4));
  };
}

// The way up the chain to the noise and down again, as frames in the order of time.
class Film {
  constructor(card) {
    this.card = card;
    const {image} = card;
    const at = page.scales.indexOf(page.film_scale);
    const level = (way, pictures) => pictures.map((src, i) => ({
      src, way, name: i === pictures.length - 1 ? 'noise u' : `level ${image.levels[i]}`,
    }));
    this.rows = [
      {title: 'Abduction: image to noise',
        frames: [{src: image.factual, way: 'abduction', name: 'factual'},
          ...level('abduction', image.up)]},
      {title: `Prediction at ${scaleText(at)}: noise to counterfactual`,
        frames: [...level('prediction', image.down).reverse(),
          {src: image.counterfactual[at], way: 'prediction', name: 'result'}]},
    ];
    this.frames = this.rows.flatMap((row) => row.frames);
    this.position = 0;
    this.timer = 0;
    this.button = card.part('play');
    this.button.addEventListener('click', () => this.press());
    reducedMotion.addEventListener('change', () => { this.stop(); });
  }
  draw() {
    for (const row of this.rows) {
      const strip = element('ol');
      for (const frame of row.frames) {
        frame.item = strip.appendChild(element('li'));
        frame.item.append(this.card.picture(element('img'), frame.src, `${frame.way}, ${frame.name}`),
          element('span', frame.name));
      }
      this.card.part('strips').append(element('h3', row.title), strip);
    }
    this.show(0);
    this.stop();
  }
  show(position) {
    this.frames[this.position].item.classList.remove('current');
    this.position = position;
    const frame = this.frames[position];
    frame.item.classList.add('current');
    this.card.picture(this.card.part('stage'), frame.src, `film: ${frame.way}, ${frame.name}`);
  }
  // Where motion is not wanted the button goes on by one frame.
  press() {
    this.card.draw();
    if (reducedMotion.matches) return this.show((this.position + 1) % this.frames.length);
    if (this.timer) return this.stop();
    if (this.position === this.frames.length - 1) this.show(0);
    this.timer = setInterval(() => {
      this.show(this.position + 1);
      if (this.position === this.frames.length - 1) this.stop();
    }, kFrameMs);
    this.label('Pause');
  }
  stop() {
    clearInterval(this.timer);
    this.timer = 0;
    this.label(reducedMotion.matches ? 'Next frame' : 'Play');
  }
  label(text) {
    this.button.textContent = text;
    this.button.setAttribute('aria-label', `${text}: film of image ${this.card.image.index}`);
  }
}

class Card {
  constructor(image) {
    this.image = image;
    this.label = image.label || kUnknown;
    this.root = byId('card').content.firstElementChild.cloneNode(true);
    this.root.querySelector('h2').append(
      element('span', `Image ${image.index}`), ` ${this.label} → ${image.target}`);
    this.root.setAttribute('aria-label', `Image ${image.index}, from ${this.label} to ${image.target}`);
    this.badge('converged', image.converged, 'converged', 'not converged');
    this.slider = this.part('slider');
    this.slider.max = last;
    this.slider.hidden = last === 0;
    this.slider.setAttribute('aria-label', `Guidance scale of image ${image.index}`);
    this.slider.addEventListener('input', () => { this.show(Number(this.slider.value)); filter(); });
    if (page.judge) {
      this.part('chart-title').textContent = `Probability of ${image.target}, ${page.judge}`;
      this.mark = drawChart(this.part('chart'), image);
    } else {
      this.part('chart').remove();
    }
    if (image.levels.length > 0) this.film = new Film(this);
    else this.part('film').remove();
    // Arrow keys belong to the slider wherever in the card the focus is.
    this.root.addEventListener('keydown', (event) => {
      const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
      if (!step || event.target === this.slider) return;
      event.preventDefault();
      this.show(Math.min(last, Math.max(0, this.at + step)));
      filter();
    });
    this.root.addEventListener('focusout', () => setTimeout(filter));
  }
  part(name) { return this.root.querySelector(`[data-part=${name}]`); }
  picture(img, src, what) {
    Object.assign(img, {src, width: page.width, height: page.height,
      alt: `Image ${this.image.index}, ${what}`});
    return img;
  }
  badge(name, value, yes, no) {
    const badge = this.part(name);
    badge.hidden = value === null;
    badge.textContent = value ? yes : no;
    badge.className = value ? 'yes' : 'no';
  }
  // Pictures are made when the card comes near the screen.
  draw() {
    if (this.drawn) return;
    this.drawn = true;
    const {image} = this;
    this.picture(this.part('factual'), image.factual, `factual, ${this.label}`);
    this.picture(this.part('reconstruction'), image.reconstruction, 'reconstruction');
    this.film?.draw();
    this.show(this.at);
  }
  show(at) {
    this.at = at;
    const {image} = this;
    this.slider.value = at;
    this.slider.setAttribute('aria-valuetext', scaleText(at));
    this.part('caption').textContent = `counterfactual, ${scaleText(at)}`;
    this.mark?.(at);
    const figures = [['L1', number(image.l1[at], 2)], ['round trip', number(image.roundtrip_l1, 4)],
      ['residual', number(image.residual, 4)]];
    if (page.judge) {
      figures.unshift(['probability', number(image.p_target[at], 3)]);
      this.badge('flipped', image.flipped[at], `flipped to ${image.target}`, 'not flipped');
    }
    this.part('figures').replaceChildren(...figures.map(([name, value]) => {
      const pair = element('div');
      pair.append(element('dt', name), element('dd', value));
      return pair;
    }));
    if (!this.drawn) return;
    const what = `do(${image.target}), ${scaleText(at)}`;
    this.picture(this.part('counterfactual'), image.counterfactual[at], `counterfactual, ${what}`);
    this.picture(this.part('difference'), image.difference[at],
      `difference to the factual, red brighter, blue darker, ${what}`);
  }
  matches() {
    const agrees = (id, value) => byId(id).value === '' || byId(id).value === String(value);
    return agrees('converged', this.image.converged) && agrees('label', this.label) &&
      (!page.judge || agrees('flipped', this.image.flipped[this.at]));
  }
}

const cards = page.images.map((image) => new Card(image));

// A card that has the focus stays until it loses it, whatever its slider is moved to.
function filter() {
  for (const card of cards) {
    card.root.hidden = !card.matches() && !card.root.contains(document.activeElement);
    if (card.root.hidden && card.film?.timer) card.film.stop();
  }
  const shown = cards.filter((card) => !card.root.hidden);
  const parts = [`${shown.length} of ${cards.length} images`];
  if (page.judge)
    parts.push(`${shown.filter((card) => card.image.flipped[card.at]).length} flipped`);
  const l1 = shown.map((card) => card.image.l1[card.at]).filter((l) => l !== null)
    .sort((a, b) => a - b);
  if (l1.length > 0)
    parts.push(`median L1 ${number((l1[(l1.length - 1) >> 1] + l1[l1.length >> 1]) / 2, 2)}`);
  byId('status').textContent = parts.join(' · ');
}

function showAll(at) {
  byId('scale-value').textContent = scaleText(at);
  byId('scale').setAttribute('aria-valuetext', scaleText(at));
  for (const card of cards) card.show(at);
  filter();
}

const near = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    cards.find((card) => card.root === entry.target).draw();
    near.unobserve(entry.target);
  }
}, {rootMargin: '800px'});
addEventListener('beforeprint', () => cards.forEach((card) => card.draw()));

const labels = [...new Set(cards.map((card) => card.label))];
labels.sort((a, b) => a.localeCompare(b, 'en', {numeric: true}));
byId('label').append(...labels.map((label) => Object.assign(element('option', label), {value: label})));
byId('converged').parentElement.hidden = cards.every((card) => card.image.converged === null);
byId('flipped').parentElement.hidden = !page.judge;
byId('label').parentElement.hidden = labels.length < 2;
for (const id of ['converged', 'flipped', 'label']) byId(id).addEventListener('change', filter);
byId('scale').max = last;
byId('scale').closest('label').hidden = last === 0;
byId('scale').addEventListener('input', (event) => showAll(Number(event.target.value)));
document.querySelector('form').addEventListener('submit', (event) => event.preventDefault());

byId('cards').append(...cards.map((card) => card.root));
const start = Math.max(0, page.scales.indexOf(page.film_scale));
byId('scale').value = start;
showAll(start);
for (const card of cards) near.observe(card.root);
