// The region and the language of the visitor, stored in localStorage.

const LANGUAGES = ['ru', 'en', 'hy'];

/** The preferences of this browser. An empty region means all regions. */
export const preferences = {
  language: localStorage.getItem('language') ?? browserLanguage(),
  region: localStorage.getItem('region') ?? '',

  /** Whether the visitor has chosen before. */
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

function browserLanguage() {
  const languages = navigator.languages.map((tag) => tag.split('-')[0]);
  return languages.find((language) => LANGUAGES.includes(language)) ?? 'ru';
}

/** Shown when /regions is unavailable. */
export const FALLBACK_REGIONS = [
  { id: 'moscow', city: 'Москва', country: 'Россия' },
  { id: 'spb', city: 'Санкт-Петербург', country: 'Россия' },
  { id: 'yerevan', city: 'Ереван', country: 'Армения' },
  { id: 'minsk', city: 'Минск', country: 'Беларусь' },
  { id: 'almaty', city: 'Алматы', country: 'Казахстан' },
  { id: 'tbilisi', city: 'Тбилиси', country: 'Грузия' },
];

/** Native names of the languages. */
export const LANGUAGE_NAMES = { ru: 'Русский', en: 'English', hy: 'Հայերեն' };
