// The options of fields that the dashboard uses. Grafana's own list of them is not published, so they are named here.
import { FieldConfigOptionsRegistry, standardTransformers, standardTransformersRegistry } from '@grafana/data';

const asItIs = (value) => value;
const asNumber = (value) => (value == null ? value : Number(value));

const STANDARD = ['unit', 'min', 'max', 'decimals', 'noValue', 'displayName', 'color', 'thresholds', 'mappings', 'links', 'filterable', 'description'];
const NUMBERS = ['min', 'max', 'decimals'];
const CUSTOM = [
  'drawStyle', 'lineInterpolation', 'lineWidth', 'fillOpacity', 'gradientMode', 'showPoints', 'pointSize', 'spanNulls', 'stacking', 'hideFrom',
  'axisPlacement', 'axisLabel', 'axisSoftMin', 'axisSoftMax', 'scaleDistribution', 'thresholdsStyle',
  'align', 'cellOptions', 'width', 'minWidth', 'filterable', 'inspect',
];

const option = (id, path, isCustom) => ({
  id, path, name: path, isCustom, override: asItIs, shouldApply: () => true, process: NUMBERS.includes(id) ? asNumber : asItIs,
});

export const registry = new FieldConfigOptionsRegistry(() => [
  ...STANDARD.map((name) => option(name, name, false)),
  ...CUSTOM.map((name) => option(`custom.${name}`, name, true)),
]);

const transformers = new Map(Object.values(standardTransformers).map((one) => [one.id, one]));
standardTransformersRegistry.setInit(() =>
  [...transformers.values()].map((one) => ({ id: one.id, name: one.name, transformation: async () => one })));
