// Region and language: chosen once, kept in localStorage, sent with every request by api.js.

const LANGUAGES = ['ru', 'en', 'hy'];

/** What this browser chose. An empty region means everywhere. */
export const preferences = {
  language: localStorage.getItem('language') ?? spokenLanguage(),
  region: localStorage.getItem('region') ?? '',

  /** Whether the person was asked already. */
  get isChosen() {
    return localStorage.getItem('language') !== null;
  },

  choose(language, region) {
    this.language = language;
    this.region = region;
    localStorage.setItem('language', language);
    localStorage.setItem('region', region);
  },
};

function spokenLanguage() {
  const spoken = navigator.languages.map((tag) => tag.split('-')[0]);
  return spoken.find((language) => LANGUAGES.includes(language)) ?? 'ru';
}

/** For a shop whose /regions does not answer (section 7 of the API's document). */
export const FALLBACK_REGIONS = [
  { id: 'moscow', city: 'Москва', country: 'Россия' },
  { id: 'spb', city: 'Санкт-Петербург', country: 'Россия' },
  { id: 'yerevan', city: 'Ереван', country: 'Армения' },
  { id: 'minsk', city: 'Минск', country: 'Беларусь' },
  { id: 'almaty', city: 'Алматы', country: 'Казахстан' },
  { id: 'tbilisi', city: 'Тбилиси', country: 'Грузия' },
];

/** Each language as it calls itself. */
export const LANGUAGE_NAMES = { ru: 'Русский', en: 'English', hy: 'Հայերեն' };
