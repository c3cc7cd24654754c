// Copyright (c) 2026, the gpufleet.lmstudio authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// What the panels of a dashboard show, by @grafana/data: the code with which Grafana turns data into fields, texts and colours.
// Reads {panel, answers} for each panel, with the answer of Prometheus to each of its queries, and writes what each one shows.
// Only the frames are made here, in the shape in which Grafana's server hands them to the browser.

"use strict";

// They ask the browser for its language.
globalThis.navigator = { languages: ["en-US"], language: "en-US" };
const grafana = require("@grafana/data");
const { firstValueFrom } = require("rxjs");

// Dashboards have been scenes since Grafana 11.
globalThis.window = { __grafanaSceneContext: {} };

const theme = grafana.createTheme();
const COLOURS = Object.fromEntries(["text", "green", "yellow", "red"].map((name) => [theme.visualization.getColorByName(name), name]));
// Some have a second name.
const TRANSFORMATIONS = [...new Map(Object.values(grafana.standardTransformers).map((one) => [one.id, one])).values()];
grafana.standardTransformersRegistry.setInit(() => TRANSFORMATIONS.map((one) => ({ id: one.id, name: one.name, transformation: async () => one })));

const time = (values) => ({ name: "Time", type: "time", values: values.map((seconds) => seconds * 1000) });

function tableOf(series) {
    const labels = [...new Set(series.flatMap((one) => Object.keys(one.metric)))].sort();
    return grafana.toDataFrame({
        fields: [
            time(series.map((one) => one.value[0])),
            ...labels.map((name) => ({ name, type: "string", values: series.map((one) => one.metric[name] ?? "") })),
            { name: "Value", type: "number", values: series.map((one) => Number(one.value[1])) },
        ],
    });
}

function seriesOf({ metric, value, values = [value] }, target) {
    const legend = target.legendFormat === "__auto" ? undefined : target.legendFormat.replace(/\{\{\s*(\w+)\s*\}\}/g, (_all, name) => metric[name] ?? "");
    const numbers = { name: "Value", type: "number", labels: metric, config: { displayNameFromDS: legend }, values: values.map((one) => Number(one[1])) };
    return grafana.toDataFrame({ refId: target.refId, fields: [time(values.map((one) => one[0])), numbers] });
}

async function shown({ panel, answers }) {
    for (const { id } of panel.transformations ?? []) {
        if (!grafana.standardTransformersRegistry.getIfExists(id)) throw new Error(`${panel.title}: there is no transformation ${id}`);
    }
    const frames = answers.flatMap((series, number) => {
        const target = panel.targets[number];
        return target.format === "table" ? (series.length ? [tableOf(series)] : []) : series.map((one) => seriesOf(one, target));
    });
    const replaceVariables = (text) => text;
    const transformed = await firstValueFrom(grafana.transformDataFrame(panel.transformations ?? [], frames, { interpolate: replaceVariables }));
    const fieldConfig = panel.fieldConfig;
    const property = (id) => ({ id, path: id, name: id, process: grafana.identityOverrideProcessor, shouldApply: () => true });
    const fieldConfigRegistry = new grafana.FieldConfigOptionsRegistry(() => Object.keys(fieldConfig.defaults).map(property));
    const data = grafana.applyFieldOverrides({ data: transformed, fieldConfig, fieldConfigRegistry, replaceVariables, theme, timeZone: "utc" });
    const text = (field, value) => grafana.formattedValueToString(field.display(value));
    if (panel.type === "stat") {
        const options = { data, fieldConfig, reduceOptions: panel.options.reduceOptions, replaceVariables, theme, timeZone: "utc" };
        const displays = grafana.getFieldDisplayValues(options).map((value) => value.display);
        return displays.map((display) => [grafana.formattedValueToString(display), COLOURS[display.color] ?? display.color]);
    }
    if (panel.type === "table") {
        return data.flatMap((frame) => [
            frame.fields.map((field) => grafana.getFieldDisplayName(field, frame, data)),
            ...Array.from({ length: frame.length }, (_none, row) => frame.fields.map((field) => text(field, field.values[row]))),
        ]);
    }
    return data.flatMap((frame) =>
        frame.fields.slice(1).map((field) => [grafana.getFieldDisplayName(field, frame, data), text(field, field.values.at(-1))]),
    );
}

async function main() {
    const units = new Set(grafana.getValueFormats().flatMap((group) => group.submenu.map((unit) => unit.value)));
    const panels = JSON.parse(require("fs").readFileSync(0, "utf8"));
    for (const { panel } of panels) {
        const { unit } = panel.fieldConfig.defaults;
        if (!units.has(unit)) throw new Error(`${panel.title}: there is no unit ${unit}`);
    }
    const all = await Promise.all(panels.map(shown));
    process.stdout.write(JSON.stringify(Object.fromEntries(panels.map(({ panel }, number) => [panel.title, all[number]]))));
}

main();
