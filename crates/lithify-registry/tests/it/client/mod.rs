//! The client against registries on loopback: Debian's, and one whose answers are bent.
//!
//! One program, because what every test may not do is print a secret, and there is one logger in a process.

mod authorities; // who signed what a server shows
mod certificates; // whom to believe
mod coding; // what is compressed on its way
mod early; // answers to what is not sent yet
mod faults; // answers that go wrong
mod heads; // the first lines of answers
mod mirrors; // other places
mod proxies; // other ways
mod pull; // reading, as it should be
mod push; // writing
mod redirects; // being sent elsewhere
mod resume; // broken downloads
mod sign_in; // passwords, tokens, certificates
mod slow; // answers that hardly come
mod support;
