//! What the bot says, in the three languages of the shops.

use crate::foundation::language::Language;

/// The sentences of the bot; `{shop}`, `{browser}`, `{address}` and `{time}` stand for what they are about.
pub struct BotTexts {
    pub welcome: &'static str,
    pub log_in: &'static str,
    pub question: &'static str,
    pub unknown_browser: &'static str,
    pub no: &'static str,
    pub approved: &'static str,
    pub wrong: &'static str,
    pub refused: &'static str,
    pub denied: &'static str,
    pub gone: &'static str,
    pub taken: &'static str,
    pub foreign: &'static str,
    pub help: &'static str,
    pub in_group: &'static str,
    pub open_bot: &'static str,
    pub to_shop: &'static str,
}

impl BotTexts {
    pub fn of(language: Language) -> &'static BotTexts {
        match language {
            Language::Ru => &RU,
            Language::En => &EN,
            Language::Hy => &HY,
        }
    }
}

static RU: BotTexts = BotTexts {
    welcome: "Здравствуйте! Чтобы войти в {shop}, нажмите кнопку ниже. Ссылка действует 5 минут и только для вас: не пересылайте её.",
    log_in: "Войти в {shop}",
    question: "Вход в {shop}\n\nБраузер: {browser}\nАдрес: {address}\nВремя: {time}\n\nЕсли это вы, нажмите число, которое показано на странице магазина. Если нет, нажмите «Нет»: никто не войдёт.",
    unknown_browser: "неизвестный",
    no: "Нет, это не я",
    approved: "Готово! Вы вошли в {shop}. Вернитесь на страницу магазина.",
    wrong: "Число не совпало, вход отменён. Если это были вы, начните вход в магазине ещё раз.",
    refused: "Вход отменён. Никто не вошёл.",
    denied: "Этот вход уже отменён. Начните вход в магазине ещё раз.",
    gone: "Время этого входа истекло. Начните вход в магазине ещё раз.",
    taken: "По этой ссылке уже отвечает другой человек. Начните вход в магазине сами.",
    foreign: "Эта кнопка не для вас.",
    help: "Я помогаю входить в {shop}. Нажмите /start, чтобы получить ссылку.",
    in_group: "Входить в {shop} можно только в личном чате со мной.",
    open_bot: "Открыть чат",
    to_shop: "Вернуться в магазин",
};

static EN: BotTexts = BotTexts {
    welcome: "Hello! To log in to {shop}, press the button below. The link is valid for 5 minutes and for you alone: do not forward it.",
    log_in: "Log in to {shop}",
    question: "Log in to {shop}\n\nBrowser: {browser}\nAddress: {address}\nTime: {time}\n\nIf this is you, press the number that the shop's page shows. If not, press No: nobody will be logged in.",
    unknown_browser: "unknown",
    no: "No, this is not me",
    approved: "Done! You are logged in to {shop}. Go back to the shop's page.",
    wrong: "That was not the number; the login was cancelled. If it was you, start again in the shop.",
    refused: "The login was cancelled. Nobody was logged in.",
    denied: "This login was cancelled before. Start again in the shop.",
    gone: "This login has expired. Start again in the shop.",
    taken: "Somebody else is answering this link already. Start a login of your own in the shop.",
    foreign: "This button is not for you.",
    help: "I help you log in to {shop}. Press /start to get a link.",
    in_group: "You can log in to {shop} only in a private chat with me.",
    open_bot: "Open the chat",
    to_shop: "Back to the shop",
};

static HY: BotTexts = BotTexts {
    welcome: "Ողջույն։ {shop} մուտք գործելու համար սեղմեք ներքևի կոճակը։ Հղումը գործում է 5 րոպե և միայն ձեզ համար է․ մի՛ փոխանցեք այն ուրիշներին։",
    log_in: "Մուտք գործել {shop}",
    question: "Մուտք {shop}\n\nԴիտարկիչ՝ {browser}\nՀասցե՝ {address}\nԺամ՝ {time}\n\nԵթե սա դուք եք, սեղմեք այն թիվը, որը ցույց է տալիս խանութի էջը։ Եթե ոչ, սեղմեք «Ոչ»․ ոչ ոք մուտք չի գործի։",
    unknown_browser: "անհայտ",
    no: "Ոչ, սա ես չեմ",
    approved: "Պատրաստ է։ Դուք մուտք եք գործել {shop}։ Վերադարձեք խանութի էջ։",
    wrong: "Թիվը չի համընկնում, մուտքը չեղարկվեց։ Եթե դա դուք էիք, խանութում նորից սկսեք մուտքը։",
    refused: "Մուտքը չեղարկվեց։ Ոչ ոք մուտք չգործեց։",
    denied: "Այս մուտքն արդեն չեղարկված է։ Խանութում նորից սկսեք մուտքը։",
    gone: "Այս մուտքի ժամանակն սպառվել է։ Խանութում նորից սկսեք մուտքը։",
    taken: "Այս հղմանն արդեն ուրիշն է պատասխանում։ Խանութում սկսեք ձեր սեփական մուտքը։",
    foreign: "Այս կոճակը ձեզ համար չէ։",
    help: "Ես օգնում եմ մուտք գործել {shop}։ Հղում ստանալու համար սեղմեք /start։",
    in_group: "{shop} կարելի է մուտք գործել միայն ինձ հետ անձնական չատում։",
    open_bot: "Բացել չատը",
    to_shop: "Վերադառնալ խանութ",
};
