//! Panels of a Grafana dashboard as JSON, as far as this dashboard needs them.

use serde_json::{Value, json};

/// What a panel draws.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Large values.
    Stat,
    /// Bars of values.
    Bars,
    /// Lines over time.
    Lines,
    /// Rows and columns.
    Table,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Stat => "stat",
            Self::Bars => "bargauge",
            Self::Lines => "timeseries",
            Self::Table => "table",
        }
    }
}

/// A panel.
pub struct Panel {
    json: Value,
    kind: Kind,
    width: u64,
    height: u64,
}

/// A colour from this value on.
pub type Step = (f64, &'static str);

/// What stands for a value: the value, the text, the colour.
pub type Word<'a> = (&'a str, &'a str, &'a str);

impl Panel {
    /// A panel so many of 24 columns wide; the description says what to do when it is red.
    pub fn new(kind: Kind, title: &str, (width, height): (u64, u64), description: &str) -> Self {
        let json = json!({
            "type": kind.name(),
            "title": title,
            "description": description,
            "datasource": datasource(),
            "targets": [],
            "options": options(kind),
            "fieldConfig": {"defaults": defaults(kind), "overrides": []},
        });
        let panel = Self { json, kind, width, height };
        match kind {
            // What a panel says without data is not what an empty cell says.
            Kind::Table => panel.for_names_like(".*", &[("noValue", "–".into())]),
            _ => panel,
        }
    }

    /// Asks this; the legend may name labels. Whatever is not drawn over time is asked for the last moment only.
    pub fn ask(mut self, expression: &str, legend: &str) -> Self {
        let over_time = self.kind == Kind::Lines;
        let targets = self.json["targets"].as_array_mut().expect("a list");
        let number = u8::try_from(targets.len()).expect("few questions");
        let mut target = json!({
            "refId": char::from(b'A' + number).to_string(),
            "datasource": datasource(),
            "editorMode": "code",
            "expr": expression,
            "instant": !over_time,
            "range": over_time,
            "format": if self.kind == Kind::Table { "table" } else { "time_series" },
        });
        if !legend.is_empty() {
            target["legendFormat"] = legend.into();
        }
        targets.push(target);
        self
    }

    /// The unit, and how many decimals are shown.
    pub fn unit(self, unit: &str, decimals: u8) -> Self {
        self.with("unit", unit.into()).with("decimals", decimals.into())
    }

    /// The lower end of the scale.
    pub fn from(self, least: u32) -> Self {
        self.with("min", least.into())
    }

    /// The upper end of the scale.
    pub fn to(self, most: u32) -> Self {
        self.with("max", most.into())
    }

    /// The colours: the first holds below all steps.
    pub fn colours(self, first: &str, steps: &[Step]) -> Self {
        self.with("thresholds", thresholds(first, steps))
    }

    /// Words for values.
    pub fn words(self, words: &[Word<'_>]) -> Self {
        self.with("mappings", mappings(words))
    }

    /// What is shown where there is nothing.
    pub fn or_else(self, text: &str) -> Self {
        self.with("noValue", text.into())
    }

    /// Shows the names beside the values.
    pub fn named(mut self) -> Self {
        self.json["options"]["textMode"] = "value_and_name".into();
        self
    }

    /// Shows the name of the series only.
    pub fn name_only(mut self) -> Self {
        self.json["options"]["textMode"] = "name".into();
        self
    }

    /// Names the series beside the graph, for there are many.
    pub fn named_beside(mut self) -> Self {
        self.json["options"]["legend"]["placement"] = "right".into();
        self
    }

    /// Draws the steps of the colours as lines.
    pub fn with_limits(mut self) -> Self {
        self.json["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"] = json!({"mode": "dashed"});
        self
    }

    /// Gives properties to what a question answers.
    pub fn for_question(self, question: &str, properties: &[(&str, Value)]) -> Self {
        self.overriding(json!({"id": "byFrameRefID", "options": question}), properties)
    }

    /// Gives properties to the series or column of this name.
    pub fn for_name(self, name: &str, properties: &[(&str, Value)]) -> Self {
        self.overriding(json!({"id": "byName", "options": name}), properties)
    }

    /// Gives properties to the series whose whole names match.
    pub fn for_names_like(self, pattern: &str, properties: &[(&str, Value)]) -> Self {
        self.overriding(json!({"id": "byRegexp", "options": pattern}), properties)
    }

    /// The columns of a table in order: the field, and its name for people. All other fields are left out.
    pub fn columns(mut self, columns: &[(&str, &str)], left_out: &[&str]) -> Self {
        let asked = self.json["targets"].as_array().map_or(0, Vec::len);
        let mut indexes = json!({});
        let mut names = json!({});
        let mut excluded = json!({});
        for (index, (field, name)) in columns.iter().enumerate() {
            indexes[*field] = index.into();
            names[*field] = (*name).into();
        }
        for field in left_out {
            excluded[*field] = true.into();
        }
        let organize = json!({
            "id": "organize",
            "options": {"excludeByName": excluded, "includeByName": {}, "indexByName": indexes, "renameByName": names},
        });
        // Where only the first question has an answer, its value has no letter.
        if asked > 1 {
            match columns.iter().find(|(field, _)| *field == "Value #A") {
                Some((_, name)) => names["Value"] = (*name).into(),
                None => excluded["Value"] = true.into(),
            }
        }
        let merge = (asked > 1).then(|| json!({"id": "merge", "options": {}}));
        self.json["transformations"] = merge.into_iter().chain([organize]).collect();
        self
    }

    /// Sorts a table by this column.
    pub fn sorted(mut self, column: &str, descending: bool) -> Self {
        self.json["options"]["sortBy"] = json!([{"displayName": column, "desc": descending}]);
        self
    }

    fn overriding(mut self, matcher: Value, properties: &[(&str, Value)]) -> Self {
        let properties: Vec<Value> = properties.iter().map(|(id, value)| json!({"id": id, "value": value})).collect();
        let overrides = self.json["fieldConfig"]["overrides"].as_array_mut().expect("a list");
        overrides.push(json!({"matcher": matcher, "properties": properties}));
        self
    }

    fn with(mut self, key: &str, value: Value) -> Self {
        self.json["fieldConfig"]["defaults"][key] = value;
        self
    }
}

/// Rows one below the other, as the list of panels of a dashboard.
pub fn laid_out(rows: Vec<(&str, Vec<Panel>)>) -> Value {
    let mut all = Vec::new();
    let mut top = 0;
    for (title, panels) in rows {
        all.push(json!({
            "type": "row", "title": title, "collapsed": false, "panels": [],
            "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": 1},
        }));
        top += 1;
        let (mut left, mut tallest) = (0, 0);
        for mut panel in panels {
            if left + panel.width > COLUMNS {
                top += tallest;
                (left, tallest) = (0, 0);
            }
            panel.json["gridPos"] = json!({"x": left, "y": top, "w": panel.width, "h": panel.height});
            left += panel.width;
            tallest = tallest.max(panel.height);
            all.push(panel.json);
        }
        top += tallest;
    }
    for (index, panel) in all.iter_mut().enumerate() {
        panel["id"] = (index + 1).into();
    }
    all.into()
}

/// The data source that the dashboard is looked at with.
pub fn datasource() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

/// One colour for all values.
pub fn fixed(colour: &str) -> Value {
    json!({"mode": "fixed", "fixedColor": colour})
}

/// Colours by value.
pub fn thresholds(first: &str, steps: &[Step]) -> Value {
    let steps = steps.iter().map(|(from, colour)| json!({"value": from, "color": colour}));
    let all: Vec<Value> = [json!({"value": null, "color": first})].into_iter().chain(steps).collect();
    json!({"mode": "absolute", "steps": all})
}

/// Words for values; `null` is where there is none.
pub fn mappings(words: &[Word<'_>]) -> Value {
    let mut values = json!({});
    let mut all = Vec::new();
    for (index, (value, text, colour)) in words.iter().enumerate() {
        let mut result = json!({"text": text, "index": index});
        if !colour.is_empty() {
            result["color"] = (*colour).into();
        }
        match *value {
            "null" => all.push(json!({"type": "special", "options": {"match": "null", "result": result}})),
            value => values[value] = result,
        }
    }
    all.insert(0, json!({"type": "value", "options": values}));
    all.into()
}

fn options(kind: Kind) -> Value {
    let last = json!({"calcs": ["lastNotNull"], "fields": "", "values": false});
    let legend = |shown: bool| json!({"showLegend": shown, "displayMode": "list", "placement": "bottom", "calcs": []});
    match kind {
        Kind::Stat => json!({
            "reduceOptions": last, "orientation": "auto", "colorMode": "value", "graphMode": "none", "justifyMode": "auto",
            "textMode": "auto", "wideLayout": true, "showPercentChange": false, "percentChangeColorMode": "standard",
        }),
        Kind::Bars => json!({
            "reduceOptions": last, "orientation": "horizontal", "displayMode": "basic", "valueMode": "color",
            "namePlacement": "auto", "showUnfilled": true, "sizing": "auto", "minVizWidth": 8, "minVizHeight": 10,
            "maxVizHeight": 32, "legend": legend(false),
        }),
        Kind::Lines => json!({"legend": legend(true), "tooltip": {"mode": "multi", "sort": "desc"}}),
        Kind::Table => json!({"frameIndex": 0, "showHeader": true, "cellHeight": "sm"}),
    }
}

fn defaults(kind: Kind) -> Value {
    let (mode, custom) = match kind {
        Kind::Stat | Kind::Bars => ("thresholds", json!({})),
        Kind::Lines => (
            "palette-classic",
            json!({
                "drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 2, "fillOpacity": 10, "gradientMode": "none",
                "showPoints": "never", "pointSize": 5, "spanNulls": false, "axisPlacement": "auto", "axisLabel": "",
                "scaleDistribution": {"type": "linear"}, "stacking": {"mode": "none", "group": "A"},
                "thresholdsStyle": {"mode": "off"}, "hideFrom": {"legend": false, "tooltip": false, "viz": false},
            }),
        ),
        Kind::Table => (
            "thresholds",
            json!({"align": "auto", "cellOptions": {"type": "auto"}, "inspect": false, "filterable": true}),
        ),
    };
    json!({"color": {"mode": mode}, "custom": custom, "mappings": [], "thresholds": thresholds("green", &[])})
}

const COLUMNS: u64 = 24;
