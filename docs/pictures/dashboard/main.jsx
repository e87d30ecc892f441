// Draws deploy/grafana/dashboards/tokenwatch.json with Grafana's own components, for the picture in the README.
//
// There is no Grafana behind it: variables are at "All", and nothing can be clicked.
import { createTheme, ThemeContext, transformDataFrame } from '@grafana/data';
import { GlobalStyles, PanelChrome, PortalContainer } from '@grafana/ui';
import { Component, useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { firstValueFrom } from 'rxjs';
import { Picture } from './panels.jsx';
import { frames } from './prometheus.js';

const WIDTH = 1400;
const [COLUMN, ROW, GAP] = [(WIDTH - 8) / 24, 38, 8];
const theme = createTheme({ colors: { mode: new URLSearchParams(location.search).get('theme') ?? 'light' } });

async function asked(panel) {
  const answers = await Promise.all(panel.targets.map((target) => frames(target, panel.targets.length === 1)));
  return firstValueFrom(transformDataFrame(panel.transformations ?? [], answers.flat(), { interpolate: (text) => text }));
}

function Panel({ panel }) {
  const [state, setState] = useState({});
  useEffect(() => { asked(panel).then((data) => setState({ data }), (failure) => setState({ failure })); }, [panel]);
  const { x, y, w, h } = panel.gridPos;
  const [width, height] = [w * COLUMN - GAP, h * ROW - GAP];
  const place = { position: 'absolute', left: x * COLUMN + GAP, top: y * ROW + GAP, width, height };
  if (state.failure) throw state.failure;
  return (
    <div style={place} data-state={state.data ? 'drawn' : 'waiting'}>
      <PanelChrome title={panel.title} {...{ width, height }}>
        {(inner, outer) => state.data && <Picture panel={panel} frames={state.data} theme={theme} width={inner} height={outer} />}
      </PanelChrome>
    </div>
  );
}

function Row({ panel }) {
  const style = { position: 'absolute', left: GAP, top: panel.gridPos.y * ROW + 14, fontSize: 16, fontWeight: 500 };
  return <div style={style}>{panel.title}</div>;
}

/** What fails is shown in the place of everything: such a picture is not published. */
class Whole extends Component {
  state = {};
  static getDerivedStateFromError(failure) { return { failure }; }
  render() { return this.state.failure ? <pre data-state="failed">{String(this.state.failure.stack)}</pre> : this.props.children; }
}

const dashboard = await (await fetch('/tokenwatch.json')).json();
const bottom = Math.max(...dashboard.panels.map(({ gridPos }) => gridPos.y + gridPos.h));
const canvas = {
  position: 'relative', width: WIDTH, height: bottom * ROW + 2 * GAP, background: theme.colors.background.canvas, color: theme.colors.text.primary,
  fontFamily: theme.typography.fontFamily,
};
createRoot(document.getElementById('dashboard')).render(
  <ThemeContext.Provider value={theme}>
    <GlobalStyles />
    <PortalContainer />
    <div style={canvas}>
      <Whole>
        {dashboard.panels.map((panel) => (panel.type === 'row' ? <Row key={panel.id} panel={panel} /> : <Panel key={panel.id} panel={panel} />))}
      </Whole>
    </div>
  </ThemeContext.Provider>,
);
