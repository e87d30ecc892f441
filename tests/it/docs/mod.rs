//! The documentation is held against the product: what it links to is there, what it shows is accepted, what it names exists.

mod manual;
