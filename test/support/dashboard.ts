/** The parts of a Grafana dashboard that tests look at. */

export interface DataSource {
  type: string;
  uid: string;
}

export interface Panel {
  id: number;
  type: string;
  title: string;
  gridPos: { x: number; y: number; w: number; h: number };
  datasource?: DataSource;
  targets?: { refId: string; expr: string; datasource: DataSource }[];
  fieldConfig?: { defaults: { unit?: string } };
}

export interface Dashboard {
  panels: Panel[];
  templating: { list: { name: string }[] };
}

/** As they are written, variables and all. */
export function expressionsOf({ panels }: Dashboard): string[] {
  return panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
}
