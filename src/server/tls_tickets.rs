//! Session tickets (RFC 8446 section 4.6.1) that every instance of a brand can read, and a process after its restart.
//!
//! Used by `tls` for a brand that has a ticket secret. The keys of a period are made of the secret and the period's number, so that
//! instances need not speak to each other; a ticket is taken in its own period and the next. What must never happen: a
//! ticket of one brand, or of a key that is two periods old, is taken.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, RandomizedNonceKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::foundation::clock::Clock;
use crate::foundation::secret::Secret;

/// How long tickets are made with one key.
const PERIOD_S: u32 = 12 * 3_600;

/// Names the key of a ticket.
const NAME_BYTES: usize = 16;

/// The random number that a ticket was sealed with.
const NONCE_BYTES: usize = 12;

/// The keys of all periods.
pub struct Tickets {
    /// HMAC under the brand's secret.
    secret: Hmac<Sha256>,
    clock: Clock,
}

/// One period's key, and the name that its tickets begin with.
struct Key {
    name: [u8; NAME_BYTES],
    key: RandomizedNonceKey,
}

impl Tickets {
    pub fn new(brand: &str, secret: &Secret, clock: Clock) -> Tickets {
        // Two brands that were given the same secret by mistake have different keys all the same.
        let keyed = |key: &[u8], text: &[u8]| {
            let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
            mac.chain_update(text).finalize().into_bytes()
        };
        let of_brand = keyed(secret.reveal().as_bytes(), format!("session tickets of {brand}").as_bytes());
        Tickets { secret: Hmac::new_from_slice(&of_brand).expect("HMAC takes a key of any length"), clock }
    }

    fn period(&self) -> i64 {
        self.clock.now().as_second().div_euclid(i64::from(PERIOD_S))
    }

    fn key(&self, period: i64) -> Option<Key> {
        let made = |purpose: &[u8]| {
            let mac = self.secret.clone().chain_update(purpose).chain_update(period.to_be_bytes());
            mac.finalize().into_bytes()
        };
        let name = made(b"name").first_chunk().copied()?;
        Some(Key { name, key: RandomizedNonceKey::new(&AES_256_GCM, &made(b"key")).ok()? })
    }
}

impl rustls::server::ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        PERIOD_S
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let Key { name, key } = self.key(self.period())?;
        let mut sealed = plain.to_vec();
        let nonce = key.seal_in_place_append_tag(Aad::from(name), &mut sealed).ok()?;
        Some([&name, nonce.as_ref().as_slice(), &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let period = self.period();
        let Key { name, key } =
            [period, period - 1].into_iter().find_map(|p| self.key(p).filter(|key| key.name == *name))?;
        let mut sealed = sealed.to_vec();
        let plain = key.open_in_place(nonce.into(), Aad::from(name), &mut sealed).ok()?;
        Some(plain.to_vec())
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}

#[cfg(test)]
mod tests {
    use rustls::server::ProducesTickets;

    use super::*;

    fn tickets(brand: &str, secret: &str) -> (Tickets, Clock) {
        let clock = Clock::default();
        (Tickets::new(brand, &Secret::new("test", secret), clock.clone()), clock)
    }

    #[test]
    fn another_instance_reads_a_ticket_and_another_brand_or_secret_does_not() {
        let (ours, _) = tickets("dexar", "s3cret");
        let ticket = ours.encrypt(b"a session").expect("it can be sealed");
        assert_eq!(tickets("dexar", "s3cret").0.decrypt(&ticket).as_deref(), Some(&b"a session"[..]));
        assert_eq!(tickets("novo", "s3cret").0.decrypt(&ticket), None);
        assert_eq!(tickets("dexar", "another").0.decrypt(&ticket), None);
        assert_ne!(ours.encrypt(b"a session"), Some(ticket), "sealed with another random number");
    }

    #[test]
    fn a_ticket_ends_with_the_period_after_its_own() {
        let (ours, clock) = tickets("dexar", "s3cret");
        let ticket = ours.encrypt(b"a session").expect("it can be sealed");
        clock.advance_ms(i64::from(PERIOD_S) * 1_000);
        assert!(ours.decrypt(&ticket).is_some());
        clock.advance_ms(i64::from(PERIOD_S) * 1_000);
        assert_eq!(ours.decrypt(&ticket), None);
    }

    #[test]
    fn whatever_was_changed_or_cut_is_no_ticket() {
        let (ours, _) = tickets("dexar", "s3cret");
        let ticket = ours.encrypt(b"a session").expect("it can be sealed");
        for place in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[place] ^= 1;
            assert_eq!(ours.decrypt(&changed), None, "byte {place}");
            assert_eq!(ours.decrypt(&ticket[..place]), None, "{place} bytes");
        }
    }
}
