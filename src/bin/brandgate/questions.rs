//! `brandgate questions`: lists visitors' questions, answers them, hides them and shows them again.

use brandgate::catalog::CatalogId;
use brandgate::config::BrandConfig;
use brandgate::foundation::error::Result as BrandResult;
use brandgate::reviews::question::{self, QuestionFilter, StoredQuestion};
use brandgate::tenant::brand::Brand;
use serde::Serialize;

use super::answers::{self, AnswerArguments};
use super::list::{self, Align, Row};
use super::output::say;

#[derive(clap::Subcommand)]
pub(crate) enum QuestionsCommand {
    /// List questions in the order of their arrival, the last one first, with the beginning of their text
    List(QuestionListArguments),
    /// Show a question with its whole text and the shop's answer
    Show(QuestionArguments),
    /// Set the shop's answer to a question, which shows the question to visitors, or remove the answer
    Answer {
        #[command(flatten)]
        one: QuestionArguments,
        #[command(flatten)]
        answer: AnswerArguments,
    },
    /// Hide a question
    Hide(QuestionArguments),
    /// Show a hidden question again
    Unhide(QuestionArguments),
}

#[derive(clap::Args)]
pub(crate) struct QuestionListArguments {
    /// Use the brand of this name
    #[arg(long)]
    brand: String,
    /// List only questions about this item, given by its number or its text id
    #[arg(long, value_parser = answers::item)]
    item: Option<CatalogId>,
    /// List only questions that wait for an answer
    #[arg(long)]
    unanswered: bool,
    /// List only hidden questions
    #[arg(long, conflicts_with = "unanswered")]
    hidden: bool,
    /// List at most this many questions
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    count: i64,
    /// Print a JSON array of objects: question, item, askedAt, upvotes, downvotes, state, text, answer
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct QuestionArguments {
    /// Use the brand of this name
    #[arg(long)]
    brand: String,
    /// Number of the question, as `list` shows it
    #[arg(value_parser = number, allow_negative_numbers = true)]
    id: i64,
}

fn number(text: &str) -> Result<i64, String> {
    super::listed_number(text, "questions list")
}

/// # Errors
/// A message that names the brand.
pub(crate) async fn run(brands: &[BrandConfig], command: QuestionsCommand) -> Result<(), String> {
    let name = match &command {
        QuestionsCommand::List(arguments) => &arguments.brand,
        QuestionsCommand::Show(one)
        | QuestionsCommand::Answer { one, .. }
        | QuestionsCommand::Hide(one)
        | QuestionsCommand::Unhide(one) => &one.brand,
    };
    let brand = super::open(brands, name).await?;
    execute(&brand, command).await.map_err(|error| format!("{}: {error}", brand.name()))
}

async fn execute(brand: &Brand, command: QuestionsCommand) -> BrandResult<()> {
    let changed = match command {
        QuestionsCommand::List(arguments) => {
            let filter = QuestionFilter {
                item: arguments.item,
                only_unanswered: arguments.unanswered,
                only_hidden: arguments.hidden,
                count: arguments.count,
            };
            let listed = question::list(brand, &filter).await?;
            list::print(&listed.iter().map(QuestionRow::of).collect::<Vec<_>>(), arguments.json);
            return Ok(());
        }
        QuestionsCommand::Show(one) => {
            show(&question::find(brand, one.id).await?);
            return Ok(());
        }
        QuestionsCommand::Answer { one, answer } => question::answer(brand, one.id, answer.text.as_deref()).await?,
        QuestionsCommand::Hide(one) => question::set_hidden(brand, one.id, true).await?,
        QuestionsCommand::Unhide(one) => question::set_hidden(brand, one.id, false).await?,
    };
    say!("{}: question {} about item {} is {}", brand.name(), changed.question_id, changed.item_id, state(&changed));
    Ok(())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QuestionRow<'a> {
    question: i64,
    item: i64,
    asked_at: Option<String>,
    upvotes: i32,
    downvotes: i32,
    state: &'static str,
    text: &'a str,
    answer: Option<&'a str>,
}

impl QuestionRow<'_> {
    fn of(question: &StoredQuestion) -> QuestionRow<'_> {
        QuestionRow {
            question: question.question_id,
            item: question.item_id,
            asked_at: question.asked_at.map(list::time),
            upvotes: question.upvotes,
            downvotes: question.downvotes,
            state: state(question),
            text: &question.text,
            answer: question.answer.as_deref(),
        }
    }
}

impl Row for QuestionRow<'_> {
    const COLUMNS: &'static [(&'static str, Align)] = &[
        ("question", Align::Right),
        ("item", Align::Right),
        ("asked", Align::Left),
        ("up", Align::Right),
        ("down", Align::Right),
        ("state", Align::Left),
        ("text", Align::Left),
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.question.to_string(),
            self.item.to_string(),
            self.asked_at.clone().unwrap_or_else(|| "-".to_owned()),
            self.upvotes.to_string(),
            self.downvotes.to_string(),
            self.state.to_owned(),
            answers::excerpt(self.text),
        ]
    }
}

/// A word for what visitors see of it; an imported question is shown without an answer too.
fn state(question: &StoredQuestion) -> &'static str {
    match question {
        StoredQuestion { is_hidden: true, .. } => "hidden",
        StoredQuestion { answer: None, .. } => "unanswered",
        _ => "answered",
    }
}

fn show(question: &StoredQuestion) {
    say!("question  {}", question.question_id);
    say!("item      {}", question.item_id);
    say!("asked     {}", question.asked_at.map_or_else(|| "-".to_owned(), list::time));
    say!("votes     {} up, {} down", question.upvotes, question.downvotes);
    say!("state     {}", state(question));
    answers::print_text("text", &question.text);
    answers::print_text("answer", question.answer.as_deref().unwrap_or("-"));
}
