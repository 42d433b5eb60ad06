// The page of an item: photos, price, description, reviews and questions.

import { read } from './api.js';
import { addButton } from './cart.js';
import { badges, breadcrumbs, pathTo, stars, stock } from './catalog.js';
import { date, t } from './i18n.js';
import { priceTag } from './price_tag.js';
import { questionList } from './question.js';
import { reviewForm } from './review.js';
import { h, picture } from './ui.js';

/** `/item/:id` */
export async function itemPage({ parameters: { id }, signal }) {
  const [tree, item] = await Promise.all([read('/category', { signal }), read(`/item/${encodeURIComponent(id)}`, { signal })]);
  const trail = pathTo(tree, item.subcategoryId ?? String(item.categoryID)) ?? [];
  const reviews = h('div', {});
  const showReviews = (fresh) => reviews.replaceChildren(...reviewList(fresh));
  showReviews(item);
  const reload = async () => showReviews(await read(`/item/${item.itemID}`, { signal }));
  const content = [
    breadcrumbs(trail),
    h('article', { class: 'item' },
      gallery(item),
      h('div', { class: 'about' },
        badges(item),
        h('h1', { tabindex: '-1' }, item.name),
        h('div', { class: 'facts' }, stars(item.rating), stock(item)),
        item.simpleDescription && h('p', { class: 'lead' }, item.simpleDescription),
        h('div', { class: 'row buy' }, priceTag(item), addButton(item)),
        fields(item)),
    ),
    item.description && item.description !== item.simpleDescription && section('description', h('p', { class: 'text' }, item.description)),
    section('reviews', reviews, h('details', { class: 'write' }, h('summary', {}, t('review_write')), reviewForm(item, reload))),
    section('questions', questionList(item, signal)),
  ];
  return { title: item.name, content };
}

function section(key, ...content) {
  return h('section', { class: 'panel', id: key }, h('h2', {}, t(key)), content);
}

/** A large photo, with thumbnails if there are several. */
function gallery(item) {
  const urls = (item.photos ?? []).filter((photo) => photo.video !== photo.url).map((photo) => photo.url).filter(Boolean);
  const large = picture(urls[0], item.name);
  const small = urls.map((url, index) => {
    const choose = (event) => {
      large.src = url;
      event.currentTarget.parentElement.querySelector('[aria-pressed=true]').setAttribute('aria-pressed', 'false');
      event.currentTarget.setAttribute('aria-pressed', 'true');
    };
    const words = t('photo_number', { number: index + 1 });
    return h('button', { type: 'button', 'aria-label': words, 'aria-pressed': String(index === 0), onclick: choose }, picture(url));
  });
  return h('div', { class: 'gallery' }, h('div', { class: 'photo' }, large), urls.length > 1 && h('div', { class: 'thumbnails' }, small));
}

function fields(item) {
  const rows = (item.descriptionFields ?? []).map(({ key, value }) => h('div', {}, h('dt', {}, key), h('dd', {}, value)));
  return rows.length > 0 && h('dl', { class: 'fields' }, rows);
}

/** The reviews of an item, from `comments`, which has dates and authors. */
function reviewList(item) {
  const comments = item.comments ?? [];
  if (comments.length === 0) return [h('p', {}, t('reviews_none'))];
  return comments.map((comment) => h('article', { class: 'review' },
    h('div', { class: 'facts' },
      stars(comment.stars),
      comment.author && h('span', { class: 'author' }, comment.author),
      comment.verified && h('span', {}, t('review_verified')),
      comment.createdAt && h('time', { datetime: comment.createdAt }, date(comment.createdAt))),
    h('p', { class: 'text' }, comment.text)));
}
