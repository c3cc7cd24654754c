// Copyright (c) 2026, the gpufleet.lmstudio authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// A dashboard as Grafana publishes its types. The test puts ours behind it, so that TypeScript finds keys and values that there are not.

import type * as grafana from "@grafana/schema";
import type * as stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as table from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
import type * as timeseries from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

// JSON has the values of Grafana's enums, and leaves out what has a default.
type Written<T> = T extends string
    ? `${T}`
    : T extends (infer Item)[]
      ? Written<Item>[]
      : T extends object
        ? { [Key in keyof T]?: Written<T[Key]> }
        : T;

// What the data source for Prometheus reads. Grafana publishes no types of it.
type Target = {
    datasource: { type: "prometheus"; uid: "${datasource}" };
    refId: string;
    expr: string;
    legendFormat: string;
    instant: boolean;
    range: boolean;
    format?: "table" | "time_series";
};

type PanelOf<Type, Options, Custom> = Required<Pick<grafana.Panel, "id" | "title" | "gridPos" | "pluginVersion">> &
    Pick<grafana.Panel, "description" | "transformations"> & {
        type: Type;
        datasource: Target["datasource"];
        targets: Target[];
        options: Written<Options>;
        fieldConfig: { defaults: Written<Omit<grafana.FieldConfig, "custom">> & { custom?: Written<Custom> }; overrides: [] };
    };

export type Dashboard = Required<Pick<grafana.Dashboard, "uid" | "schemaVersion">> &
    Omit<grafana.Dashboard, "panels" | "templating"> & {
        templating: { list: Written<grafana.VariableModel>[] };
        panels: (
            | PanelOf<"stat", stat.Options, {}>
            | PanelOf<"table", table.Options, table.FieldConfig>
            | PanelOf<"timeseries", timeseries.Options, timeseries.FieldConfig>
        )[];
    };
