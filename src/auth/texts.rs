//! What our own pages say, in the three languages of the shops.

use crate::foundation::language::Language;

/// The sentences of the pages; `{shop}` and `{name}` stand for what they are about.
pub struct LoginTexts {
    pub start_title: &'static str,
    pub start_code: &'static str,
    pub start_steps: &'static str,
    pub open_telegram: &'static str,
    pub open_app: &'static str,
    pub scan: &'static str,
    pub or_send: &'static str,
    pub valid: &'static str,
    pub back: &'static str,
    pub confirm_title: &'static str,
    pub confirm_question: &'static str,
    pub confirm_warning: &'static str,
    pub confirm_button: &'static str,
    pub confirm_no: &'static str,
    pub sorry_title: &'static str,
    pub sorry_stale: &'static str,
    pub sorry_used: &'static str,
    pub sorry_wrong: &'static str,
    pub sorry_page: &'static str,
    pub sorry_away: &'static str,
}

impl LoginTexts {
    pub fn of(language: Language) -> &'static LoginTexts {
        match language {
            Language::Ru => &RU,
            Language::En => &EN,
            Language::Hy => &HY,
        }
    }
}

/// A sentence with the shop's name in its place.
pub fn with_shop(sentence: &str, shop: &str) -> String {
    sentence.replace("{shop}", shop)
}

static RU: LoginTexts = LoginTexts {
    start_title: "Вход в {shop} через Telegram",
    start_code: "Ваше число",
    start_steps: "Откройте бота, нажмите «Начать» (START) и выберите это число в чате.",
    open_telegram: "Открыть Telegram",
    open_app: "Открыть в приложении",
    scan: "Или наведите камеру телефона на код:",
    or_send: "Ссылка не открывается? Отправьте боту {bot} сообщение:",
    valid: "Действует до {time}.",
    back: "Вернуться в магазин",
    confirm_title: "Вход в {shop}",
    confirm_question: "Войти в {shop} как {name}?",
    confirm_warning: "Продолжайте, только если вы сами открыли эту ссылку в чате с ботом.",
    confirm_button: "Войти",
    confirm_no: "Нет, это не я",
    sorry_title: "Войти не получилось",
    sorry_stale: "Ссылка устарела. Откройте бота и нажмите /start ещё раз.",
    sorry_used: "Эта ссылка уже использована. Откройте бота и нажмите /start ещё раз.",
    sorry_wrong: "Эта ссылка не от бота нашего магазина.",
    sorry_page: "Страница устарела. Откройте ссылку в чате ещё раз.",
    sorry_away: "Сейчас войти не получается. Попробуйте через минуту.",
};

static EN: LoginTexts = LoginTexts {
    start_title: "Log in to {shop} with Telegram",
    start_code: "Your number",
    start_steps: "Open the bot, press START and choose this number in the chat.",
    open_telegram: "Open Telegram",
    open_app: "Open in the app",
    scan: "Or point your phone's camera at the code:",
    or_send: "The link does not open? Send this message to {bot}:",
    valid: "Valid until {time}.",
    back: "Back to the shop",
    confirm_title: "Log in to {shop}",
    confirm_question: "Log in to {shop} as {name}?",
    confirm_warning: "Continue only if you opened this link yourself, in the chat with the bot.",
    confirm_button: "Log in",
    confirm_no: "No, that is not me",
    sorry_title: "You are not logged in",
    sorry_stale: "This link is too old. Open the bot and press /start again.",
    sorry_used: "This link was used already. Open the bot and press /start again.",
    sorry_wrong: "This link was not made by our shop's bot.",
    sorry_page: "This page is out of date. Open the link in the chat again.",
    sorry_away: "Logging in does not work right now. Try again in a minute.",
};

static HY: LoginTexts = LoginTexts {
    start_title: "Մուտք {shop}՝ Telegram-ով",
    start_code: "Ձեր թիվը",
    start_steps: "Բացեք բոտը, սեղմեք START և չատում ընտրեք այս թիվը։",
    open_telegram: "Բացել Telegram-ը",
    open_app: "Բացել հավելվածում",
    scan: "Կամ հեռախոսի տեսախցիկն ուղղեք կոդին․",
    or_send: "Հղումը չի՞ բացվում։ Ուղարկեք {bot} բոտին այս հաղորդագրությունը․",
    valid: "Գործում է մինչև {time}։",
    back: "Վերադառնալ խանութ",
    confirm_title: "Մուտք {shop}",
    confirm_question: "Մուտք գործե՞լ {shop} որպես {name}",
    confirm_warning: "Շարունակեք միայն, եթե այս հղումն ինքներդ եք բացել բոտի չատում։",
    confirm_button: "Մուտք գործել",
    confirm_no: "Ոչ, դա ես չեմ",
    sorry_title: "Մուտքը չստացվեց",
    sorry_stale: "Հղումը հնացել է։ Բացեք բոտը և նորից սեղմեք /start։",
    sorry_used: "Այս հղումն արդեն օգտագործվել է։ Բացեք բոտը և նորից սեղմեք /start։",
    sorry_wrong: "Այս հղումը մեր խանութի բոտից չէ։",
    sorry_page: "Էջը հնացել է։ Նորից բացեք հղումը չատում։",
    sorry_away: "Այս պահին մուտքը չի աշխատում։ Փորձեք մեկ րոպեից։",
};
