//! TLS session tickets (RFC 8446, 4.6.1) that every instance of a brand can decrypt, also after a restart.
//!
//! The keys of a period derive from the brand's ticket secret and the number of the period, so that instances need not
//! communicate.
//!
//! # Invariants
//!
//! - A ticket is accepted by its own brand alone, in its own period and the next.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, RandomizedNonceKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::foundation::clock::Clock;
use crate::foundation::secret::Secret;

/// How long tickets are encrypted with one key.
const PERIOD_S: u32 = 12 * 3_600;

/// The key name that a ticket begins with.
const NAME_BYTES: usize = 16;

/// The nonce of AES-256-GCM.
const NONCE_BYTES: usize = 12;

/// Derives the ticket keys of a brand.
pub(crate) struct TicketKeys {
    /// HMAC keyed with the brand's secret.
    hmac: Hmac<Sha256>,
    clock: Clock,
}

/// The key of one period.
struct PeriodKey {
    /// The prefix of its tickets.
    name: [u8; NAME_BYTES],
    key: RandomizedNonceKey,
}

impl TicketKeys {
    pub(crate) fn new(brand: &str, secret: &Secret, clock: Clock) -> TicketKeys {
        // Brands that share a secret by mistake still have different keys.
        let keyed = |key: &[u8], text: &[u8]| {
            let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
            mac.chain_update(text).finalize().into_bytes()
        };
        let of_brand = keyed(secret.reveal().as_bytes(), format!("session tickets of {brand}").as_bytes());
        TicketKeys { hmac: Hmac::new_from_slice(&of_brand).expect("HMAC takes a key of any length"), clock }
    }

    fn period(&self) -> i64 {
        self.clock.now().as_second().div_euclid(i64::from(PERIOD_S))
    }

    fn key(&self, period: i64) -> Option<PeriodKey> {
        let derive = |purpose: &[u8]| {
            let mac = self.hmac.clone().chain_update(purpose).chain_update(period.to_be_bytes());
            mac.finalize().into_bytes()
        };
        let name = derive(b"name").first_chunk().copied()?;
        Some(PeriodKey { name, key: RandomizedNonceKey::new(&AES_256_GCM, &derive(b"key")).ok()? })
    }
}

impl rustls::server::ProducesTickets for TicketKeys {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        PERIOD_S
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let PeriodKey { name, key } = self.key(self.period())?;
        let mut sealed = plain.to_vec();
        let nonce = key.seal_in_place_append_tag(Aad::from(name), &mut sealed).ok()?;
        Some([&name, nonce.as_ref().as_slice(), &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let period = self.period();
        let PeriodKey { name, key } =
            [period, period - 1].into_iter().find_map(|p| self.key(p).filter(|key| key.name == *name))?;
        let mut sealed = sealed.to_vec();
        let plain = key.open_in_place(nonce.into(), Aad::from(name), &mut sealed).ok()?;
        Some(plain.to_vec())
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketKeys")
    }
}

#[cfg(test)]
mod tests {
    use rustls::server::ProducesTickets;

    use super::*;

    fn tickets(brand: &str, secret: &str) -> (TicketKeys, Clock) {
        let clock = Clock::default();
        (TicketKeys::new(brand, &Secret::new("test", secret), clock.clone()), clock)
    }

    #[test]
    fn ticket_is_decrypted_with_the_same_brand_and_secret_alone() {
        let (ours, _) = tickets("dexar", "s3cret");
        let ticket = ours.encrypt(b"a session").expect("encrypted");
        assert_eq!(tickets("dexar", "s3cret").0.decrypt(&ticket).as_deref(), Some(&b"a session"[..]));
        assert_eq!(tickets("novo", "s3cret").0.decrypt(&ticket), None);
        assert_eq!(tickets("dexar", "another").0.decrypt(&ticket), None);
        assert_ne!(ours.encrypt(b"a session"), Some(ticket), "each ticket has a nonce of its own");
    }

    #[test]
    fn ticket_expires_after_the_period_that_follows_its_own() {
        let (ours, clock) = tickets("dexar", "s3cret");
        let ticket = ours.encrypt(b"a session").expect("encrypted");
        clock.advance_ms(i64::from(PERIOD_S) * 1_000);
        assert!(ours.decrypt(&ticket).is_some());
        clock.advance_ms(i64::from(PERIOD_S) * 1_000);
        assert_eq!(ours.decrypt(&ticket), None);
    }

    #[test]
    fn modified_or_truncated_ticket_is_rejected() {
        let (ours, _) = tickets("dexar", "s3cret");
        let ticket = ours.encrypt(b"a session").expect("encrypted");
        for index in 0..ticket.len() {
            let mut modified = ticket.clone();
            modified[index] ^= 1;
            assert_eq!(ours.decrypt(&modified), None, "byte {index}");
            assert_eq!(ours.decrypt(&ticket[..index]), None, "{index} bytes");
        }
    }
}
