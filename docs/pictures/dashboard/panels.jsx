// The kinds of panels that the dashboard has, drawn by Grafana's own components.
import {
  applyFieldOverrides, cacheFieldDisplayNames, getDisplayValueAlignmentFactors, getFieldDisplayValues, VizOrientation,
} from '@grafana/data';
import { BarGauge, BigValue, LegendDisplayMode, TimeSeries, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { registry } from './fields.js';
import { range } from './prometheus.js';

const ZONE = 'utc';
const same = (value) => value;

/** What is inside a panel. */
export function Picture({ panel, frames, theme, width, height }) {
  const fieldConfig = { defaults: panel.fieldConfig.defaults, overrides: panel.fieldConfig.overrides ?? [] };
  const data = applyFieldOverrides({ data: frames, fieldConfig, theme, timeZone: ZONE, replaceVariables: same, fieldConfigRegistry: registry });
  cacheFieldDisplayNames(data);
  if (!data.some((frame) => frame.fields.length)) return <Nothing panel={panel} theme={theme} />;
  const Kind = { timeseries: Lines, stat: Numbers, bargauge: Bars, table: Table }[panel.type];
  if (!Kind) throw new Error(`${panel.title}: nobody can draw a ${panel.type}`);
  return <Kind {...{ panel, fieldConfig, data, theme, width, height }} />;
}

function Nothing({ panel, theme }) {
  return <p style={{ textAlign: 'center', color: theme.colors.text.secondary }}>{panel.fieldConfig.defaults.noValue ?? 'No data'}</p>;
}

function Lines({ panel, data, width, height }) {
  const legend = { displayMode: LegendDisplayMode.List, placement: panel.options.legend.placement, calcs: [], showLegend: true };
  return (
    <TimeSeries frames={data} timeRange={range} timeZone={ZONE} {...{ width, height, legend }} options={{}} tweakScale={same} tweakAxis={same} />
  );
}

function Table({ panel, data, width, height }) {
  return (
    <TableNG
      data={data[0]} {...{ width, height }} cellHeight={panel.options.cellHeight} initialSortBy={panel.options.sortBy} fieldConfig={panel.fieldConfig}
      structureRev={1} frozenColumns={0} timeRange={range} getActions={() => []} replaceVariables={same}
    />
  );
}

/** A value for each field, side by side. */
function Repeated({ panel, fieldConfig, data, theme, width, height, orientation, value, ...rest }) {
  const values = () => getFieldDisplayValues({
    fieldConfig, data, theme, timeZone: ZONE, replaceVariables: same, reduceOptions: panel.options.reduceOptions,
  });
  return (
    <VizRepeater
      source={data} getValues={values} getAlignmentFactors={getDisplayValueAlignmentFactors} renderCounter={1}
      {...{ width, height, orientation }} {...rest} renderValue={value}
    />
  );
}

function Numbers(props) {
  const { colorMode, graphMode, justifyMode, textMode, wideLayout } = props.panel.options;
  const value = ({ value, alignmentFactors, width, height, count }) => (
    <BigValue theme={props.theme} value={value.display} {...{ alignmentFactors, width, height, count, colorMode, graphMode, justifyMode, textMode, wideLayout }} />
  );
  return <Repeated {...props} orientation={VizOrientation.Auto} autoGrid value={value} />;
}

function Bars(props) {
  const { displayMode, showUnfilled, valueMode, namePlacement, orientation } = props.panel.options;
  const value = ({ value, alignmentFactors, width, height, orientation }) => (
    <BarGauge
      theme={props.theme} value={value.display} field={value.field} display={value.view?.getFieldDisplayProcessor?.(value.colIndex)}
      {...{ alignmentFactors, width, height, orientation, displayMode, showUnfilled, namePlacement }} valueDisplayMode={valueMode}
      itemSpacing={8} lcdCellWidth={8}
    />
  );
  return <Repeated {...props} orientation={orientation} minVizHeight={16} maxVizHeight={32} itemSpacing={8} value={value} />;
}
