//! The ways by which a notice reaches a receiver.
//!
//! A closed set: each way is tried, delayed and settled on its own, so that one that fails never holds up another.

/// A kind of channel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ChannelKind {
    /// Mail over SMTP.
    Mail,
    /// A signed HTTP request.
    Webhook,
    /// Alerts posted to an Alertmanager.
    Alertmanager,
    /// A template message over WhatsApp.
    WhatsApp,
}

impl ChannelKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Mail, Self::Webhook, Self::Alertmanager, Self::WhatsApp];

    /// The label of its metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Webhook => "webhook",
            Self::Alertmanager => "alertmanager",
            Self::WhatsApp => "whatsapp",
        }
    }

    /// The kind of that name; the configuration's key for mail is `email`.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "email" => Some(Self::Mail),
            word => Self::ALL.into_iter().find(|kind| kind.as_str() == word),
        }
    }

    /// Whether people read it as it comes. An Alertmanager groups, mutes and paces by rules of its own, and must know at once.
    pub const fn is_read_by_people(self) -> bool {
        !matches!(self, Self::Alertmanager)
    }
}

/// A way to a receiver.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Route {
    /// By this channel.
    By(ChannelKind),
    /// By the first of the channels that the receiver prefers which takes it.
    Preferred,
}

impl Route {
    /// Every route.
    pub const ALL: [Self; 5] = [
        Self::By(ChannelKind::Mail),
        Self::By(ChannelKind::Webhook),
        Self::By(ChannelKind::Alertmanager),
        Self::By(ChannelKind::WhatsApp),
        Self::Preferred,
    ];

    /// A stable code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::By(kind) => kind.as_str(),
            Self::Preferred => "preferred",
        }
    }

    /// The route of that code.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|route| route.as_str() == word)
    }

    /// Whether people read what comes this way as it comes.
    pub const fn is_read_by_people(self) -> bool {
        match self {
            Self::By(kind) => kind.is_read_by_people(),
            Self::Preferred => true,
        }
    }
}
