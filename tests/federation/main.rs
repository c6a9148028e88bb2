//! Whole federations, over mutual TLS, and the command as people run it.

mod command_line;
mod doctor;
mod randhie;
mod support;
