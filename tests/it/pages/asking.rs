//! Requests that are put together without a wire, and answers that are read without one: how pages try themselves.

use base64::Engine as _;

use super::{Asked, Said};

impl Asked {
    /// A request of this method and path, and nothing else in it.
    pub fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: Vec::new(),
            headers: [].into(),
            body: String::new(),
        }
    }

    /// The same with these values in the query.
    #[must_use]
    pub fn with_query(mut self, values: &[(&str, &str)]) -> Self {
        self.query.extend(values.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        self
    }

    /// The same with a header, whose name is written in small letters.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The same with basic authentication.
    #[must_use]
    pub fn with_basic(self, user: &str, password: &str) -> Self {
        let coded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        self.with_header("authorization", &format!("Basic {coded}"))
    }

    /// The same with a form of these values as its body.
    #[must_use]
    pub fn with_form(mut self, values: &[(&str, &str)]) -> Self {
        self.body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(values).finish();
        self.with_header("content-type", "application/x-www-form-urlencoded")
    }

    /// The same with this text, which is JSON, as its body.
    #[must_use]
    pub fn with_json(mut self, text: &str) -> Self {
        text.clone_into(&mut self.body);
        self.with_header("content-type", "application/json")
    }
}

impl Said {
    /// The body, which is JSON.
    pub fn document(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}
