/**
 * How the page looks: one constant style sheet, whose hash is in the page's security policy. Text has a contrast of
 * 4.5 or more in both colour schemes, shapes 3; nothing changes its size when its words change.
 */

export const PAGE_STYLE = `
:root{color-scheme:light dark;--bg:#fafaf9;--card:#fff;--line:#e7e5e4;--text:#1c1917;--soft:#57534e;--focus:#1d4ed8;
--operational:#15803d;--degraded:#a34a06;--outage:#b91c1c;--unknown:#57534e;
--bar-operational:#1f9d55;--bar-degraded:#c2650a;--bar-outage:#c62828;--bar-unknown:#8a837d;--bar-none:#b5afa9;
--tint-operational:#eef8f1;--tint-degraded:#fdf4e7;--tint-outage:#fdeeee;--tint-unknown:#f1f0ee}
@media(prefers-color-scheme:dark){:root{--bg:#131416;--card:#1b1d20;--line:#2e3135;--text:#ecebe9;--soft:#aaa6a1;--focus:#93c5fd;
--operational:#4ade80;--degraded:#fbbf24;--outage:#fb8585;--unknown:#b8b3ad;
--bar-operational:#2fae66;--bar-degraded:#d98a1b;--bar-outage:#e25555;--bar-unknown:#7d7872;--bar-none:#65615c;
--tint-operational:#14231a;--tint-degraded:#271f10;--tint-outage:#2a1818;--tint-unknown:#212326}}
*{box-sizing:border-box}
html{font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;font-variant-numeric:tabular-nums;scrollbar-gutter:stable}
body{margin:0;background:var(--bg);color:var(--text)}
header,main,footer{max-width:48rem;margin:0 auto;padding:0 1.25rem}
header{display:flex;flex-wrap:wrap;justify-content:space-between;gap:.25rem 1.5rem;padding-top:1.75rem;padding-bottom:1.25rem}
header p{margin:0;font-weight:600;letter-spacing:-.01em}
nav{display:flex;gap:1.25rem}
a{color:inherit;text-underline-offset:.2em;text-decoration-color:var(--soft)}
a:hover{text-decoration-thickness:2px}
a:focus-visible,main:focus-visible{outline:3px solid var(--focus);outline-offset:3px;border-radius:3px}
main:focus{outline:none}
.skip{position:absolute;left:-99rem}
.skip:focus{left:1rem;top:.5rem;background:var(--card);padding:.25rem .75rem;z-index:1}
h1,h2,h3,p,dl,dd,ul,ol{margin:0;padding:0}
ul,ol{list-style:none}
h1{font-size:1.7rem;line-height:1.2;font-weight:650;letter-spacing:-.02em}
h2{font-size:.9375rem;font-weight:600;color:var(--soft);margin:2.25rem 0 .625rem}
h3{font-size:1rem;font-weight:600;overflow-wrap:anywhere}
.soft{color:var(--soft);font-size:.875rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px}
.icon{flex:none;width:1.05em;height:1.05em;vertical-align:-.16em;margin-right:.4em;fill:currentColor}
[data-state=operational]{--now:var(--operational);--tint:var(--tint-operational)}
[data-state=degraded]{--now:var(--degraded);--tint:var(--tint-degraded)}
[data-state=outage]{--now:var(--outage);--tint:var(--tint-outage)}
[data-state=unknown]{--now:var(--unknown);--tint:var(--tint-unknown)}
.overall{background:var(--tint);border:1px solid var(--line);border-left:5px solid var(--now);border-radius:12px;padding:1.5rem 1.5rem 1.25rem;display:flex;flex-direction:column;min-height:11rem}
.overall h1 .icon{color:var(--now);margin-right:.35em}
.overall .why{margin:.5rem 0 auto;padding-bottom:.75rem}
.figures{display:grid;grid-template-columns:repeat(4,1fr)}
.figures>div{padding:1rem 1.25rem;border-left:1px solid var(--line)}
.figures>div:first-child{border-left:0}
.figures div{display:flex;flex-direction:column}
.figures dt{font-size:.8125rem;color:var(--soft);white-space:nowrap}
.figures dd{font-size:1.375rem;font-weight:600;letter-spacing:-.01em;line-height:1.4;white-space:nowrap}
.figures dd.soft{font-size:.8125rem;font-weight:400;min-height:1.4em}
.hour{display:block;width:100%;height:40px;padding:0 1px}
.hour-name{font-size:.8125rem;color:var(--soft);padding:.75rem 1.25rem 0;border-top:1px solid var(--line)}
.hour path{fill:none;stroke:var(--soft);stroke-width:1.5;vector-effect:non-scaling-stroke;stroke-linejoin:round}
.components>li{padding:1.125rem 1.25rem .875rem;border-top:1px solid var(--line)}
.components>li:first-child{border-top:0}
.row{display:flex;justify-content:space-between;gap:1rem;align-items:baseline}
.state{color:var(--now);font-weight:600;font-size:.9375rem;white-space:nowrap}
.bars{display:block;width:100%;height:32px;margin:.625rem 0 .375rem}
.b-operational{fill:var(--bar-operational)}.b-degraded{fill:var(--bar-degraded)}.b-outage{fill:var(--bar-outage)}.b-unknown{fill:var(--bar-unknown)}.b-none{fill:var(--bar-none)}
.bars path:hover{opacity:.75}
.legend{display:flex;justify-content:space-between;gap:1rem;font-size:.8125rem;color:var(--soft)}
.incidents>li{padding:1.125rem 1.25rem;border-top:1px solid var(--line)}
.incidents>li:first-child{border-top:0}
.incidents .state{font-size:.875rem}
.incidents ol{margin-top:.5rem;font-size:.9375rem}
.incidents ol li{padding:.125rem 0}
.none{padding:1.125rem 1.25rem}
:target{scroll-margin-top:1rem}
footer{padding-top:2rem;padding-bottom:3rem}
@media(max-width:40rem){.figures{grid-template-columns:1fr 1fr}.figures>div:nth-child(3){border-left:0}.figures>div:nth-child(n+3){border-top:1px solid var(--line)}.overall{padding:1.25rem;min-height:12.5rem}h1{font-size:1.45rem}.components .soft{min-height:3em}.legend .mid{display:none}}
@media(forced-colors:active){.bars path{forced-color-adjust:none}}
@media print{nav,.skip{display:none}}
`;
