//! The cart's endpoints (contract section 4).

use crate::app::Cx;
use crate::error::{Error, Result};
use crate::net::cookie::{self, CookieSecret};
use crate::net::reply::Reply;
use crate::net::request::Req;

use super::Owner;
use super::body::{self, Post};

/// A year.
const VISITOR_MAX_AGE_S: u32 = 31_536_000;

/// `GET /cart`: hands out the visitor cookie; writes nothing.
pub async fn get(cx: Cx, req: Req) -> Result<Reply> {
    let visitor = Visitor::of(&cx, &req)?;
    let (items, language) = super::list(&cx, &visitor.owner()).await?;
    visitor.keep(Reply::json(&items)?.in_language(language))
}

/// `POST /cart`: adds an item.
pub async fn post(cx: Cx, mut req: Req) -> Result<Reply> {
    let visitor = Visitor::of(&cx, &req)?;
    match body::post(&req.json().await?)? {
        Post::Add { item_id, quantity } => super::add(&cx, &visitor.owner(), item_id, quantity).await?,
        Post::Payment => return Err(Error::unavailable("payments are not part of this release")),
    }
    visitor.keep(Reply::message("Added to cart")?)
}

/// `PATCH /cart`: sets how many.
pub async fn patch(cx: Cx, mut req: Req) -> Result<Reply> {
    let visitor = Visitor::of(&cx, &req)?;
    let (item_id, quantity) = body::patch(&req.json().await?)?;
    super::set(&cx, &visitor.owner(), item_id, quantity).await?;
    visitor.keep(Reply::message("Updated")?)
}

/// `DELETE /cart`: takes items out.
pub async fn delete(cx: Cx, mut req: Req) -> Result<Reply> {
    let visitor = Visitor::of(&cx, &req)?;
    let item_ids = body::delete(&req.json().await?)?;
    super::remove(&cx, &visitor.owner(), &item_ids).await?;
    visitor.keep(Reply::message("Removed")?)
}

/// Who is asking, by the cookie that hangs on a browser for a year.
struct Visitor {
    secret: CookieSecret,
    cookie: String,
}

impl Visitor {
    fn of(cx: &Cx, req: &Req) -> Result<Visitor> {
        let cookie = cookie::name(cx.brand.name(), "visitor");
        let secret = match req.cookie(&cookie) {
            Some(secret) => secret,
            None => CookieSecret::new()?,
        };
        Ok(Visitor { secret, cookie })
    }

    fn owner(&self) -> Owner {
        Owner::visitor(&self.secret)
    }

    /// Hands the cookie out, or on for another year.
    fn keep(&self, reply: Reply) -> Result<Reply> {
        Ok(reply.with_cookie(self.secret.set_cookie(&self.cookie, VISITOR_MAX_AGE_S)))
    }
}
