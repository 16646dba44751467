//! Envelopes of client-encrypted content: their rules, and that the services cannot decrypt it.

mod byte_search;
mod database_constraints;
mod dependencies;
mod envelope_rules;
mod hexadecimal;
mod interchange;
mod key_versions;
mod nonces;
mod payload_calls;
mod payloads;
mod plaintext_search;
mod test_vectors;
