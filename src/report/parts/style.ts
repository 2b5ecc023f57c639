import { themeCss } from "./theme.js";

/** The style sheet of the page. */
export function pageCss(): string {
  return `${themeCss()}${LAYOUT}`;
}

const LAYOUT = `
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-padding-top:1rem}
body{margin:0;background:var(--paper);color:var(--text);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;overflow-wrap:break-word}
a{color:var(--accent)}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px;border-radius:3px}
h1,h2,h3,h4{line-height:1.25;text-wrap:balance;margin:0}
h1{font-size:clamp(1.5rem,1.1rem + 1.6vw,2.3rem);font-weight:700;letter-spacing:-.018em}
h2{font-size:1.4rem;font-weight:680;letter-spacing:-.01em}
h3{font-size:1.06rem;font-weight:650}
h4{font-size:.95rem;font-weight:650}
p{margin:.5rem 0;max-width:72ch;text-wrap:pretty}
.page{max-width:1500px;margin:0 auto;padding:1.5rem 1.5rem 4rem}
.eyebrow{margin:0;color:var(--muted);font-size:.85rem}
header{display:grid;grid-template-columns:minmax(0,1fr) auto;align-items:center;gap:.1rem 1rem}
header h1{grid-column:1/-1}
button{font:inherit;color:inherit;background:none;border:0;padding:0;cursor:pointer}
.theme{flex:none;border:1px solid var(--line);background:var(--panel);border-radius:6px;padding:.25rem .7rem;font-size:.85rem}
nav{margin:1.2rem 0 0;font-size:.9rem}
nav h2{font-size:.8rem;color:var(--muted);font-weight:600;letter-spacing:0;margin-bottom:.35rem}
nav ol{list-style:none;margin:0;padding:0;display:flex;flex-wrap:wrap;gap:.15rem 1.1rem}
nav a{text-decoration:none;display:block;padding:.15rem 0}
nav a:hover{text-decoration:underline}
section{margin-top:2.6rem}
section>h2{padding-bottom:.45rem;border-bottom:1px solid var(--line)}
section>p{color:var(--muted)}
.summary{font-size:1.06rem;margin-top:1.2rem}
.summary p{color:var(--text)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:.75rem;margin:1.3rem 0 0;padding:0}
.tiles>div{background:var(--panel);border:1px solid var(--line);border-radius:8px;padding:.7rem .9rem;display:flex;flex-direction:column;gap:.15rem}
.tiles dt{color:var(--muted);font-size:.82rem;line-height:1.3}
.tiles dd{margin:0}
.tiles dd.value{font-size:1.55rem;font-weight:680;letter-spacing:-.02em;line-height:1.2;font-variant-numeric:tabular-nums}
.tiles dd.note{font-size:.82rem;color:var(--muted);line-height:1.35}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,500px),1fr));gap:1.1rem;align-items:start;margin-top:1.1rem}
figure,.panel{margin:0;background:var(--panel);border:1px solid var(--line);border-radius:8px;padding:1rem 1.15rem;min-width:0}
.panel{margin-top:1.1rem}
.figures>.panel{margin-top:0}
figcaption p,.panel>p{color:var(--muted);font-size:.9rem;line-height:1.45;margin:.3rem 0 .6rem}
figure svg{width:100%;height:auto;display:block;margin:0 auto;overflow:visible}
.wide svg{max-width:660px}
.narrow svg{max-width:420px}
.narrow{display:none}
svg.plot{font:12.5px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;color:var(--text)}
.plot text,.plot tspan{white-space:pre}
.plot-label{font-size:.85rem;color:var(--muted);margin:.6rem 0 .1rem;max-width:none}
.legend{list-style:none;margin:.3rem 0 .5rem;padding:0;display:flex;flex-wrap:wrap;gap:.1rem 1.1rem;font-size:.88rem}
.legend li{display:flex;align-items:center;gap:.4rem}
.symbol{flex:none;display:inline-block;width:16px;height:16px;vertical-align:-2px}
figure .symbol{width:16px;height:16px;display:inline-block;margin:0}
td .symbol,th .symbol{margin-right:.35rem}
.swatch{flex:none;width:14px;height:14px;margin:0;border-radius:3px;outline:1px solid var(--line);overflow:hidden}
figure .swatch{width:14px;height:14px}
details{margin-top:.7rem}
.panel details{margin-top:.25rem}
summary{cursor:pointer;font-size:.9rem;color:var(--accent);padding:.15rem 0;width:fit-content}
.scroll{overflow-x:auto;margin-top:.5rem;position:relative}
table{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums;min-width:min(100%,26rem)}
caption{text-align:left;color:var(--muted);font-size:.85rem;padding-bottom:.4rem}
caption span{display:inline-block;max-width:min(60rem,calc(100vw - 2rem))}
th,td{padding:.32rem .8rem;text-align:left;border-bottom:1px solid var(--grid);white-space:nowrap;font-weight:400}
th:first-child,td:first-child{padding-left:0}
thead th{color:var(--muted);font-weight:600;border-bottom:1px solid var(--line);vertical-align:bottom}
.number{text-align:right}
tr.strong th,tr.strong td{font-weight:650}
th button{font-weight:600;white-space:nowrap}
th button::after{content:"";display:inline-block;width:.9em;text-align:center}
th[aria-sort=ascending] button::after{content:"↑"}
th[aria-sort=descending] button::after{content:"↓"}
th button:hover{color:var(--accent)}
.range{width:128px;height:14px;display:block;overflow:visible}
.facts{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:.2rem 1.2rem;margin:.6rem 0 0;font-size:.88rem}
.facts dt{color:var(--muted)}
.facts dd{margin:0;overflow-wrap:anywhere;font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.84rem}
.flowers{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,300px),1fr));gap:1.1rem 1.6rem;margin-top:.6rem}
.flowers h4{margin-bottom:.1rem}
.panel .flowers+details{margin-top:1rem}
.flowers p{margin:0 0 .4rem;font-size:.84rem;color:var(--muted)}
.flowers svg{width:100%;height:auto;display:block}
.stroke-round{stroke-linecap:round;fill:none}
[data-tip]{cursor:default}
.tip[hidden]{display:none}
.tip{position:fixed;z-index:9;max-width:min(300px,calc(100vw - 16px));background:var(--text);color:var(--panel);padding:.4rem .6rem;border-radius:6px;font-size:.82rem;line-height:1.4;white-space:pre-line;pointer-events:none}
.defs{position:absolute;width:0;height:0}
footer{margin-top:3rem;color:var(--muted);font-size:.85rem}
@media (min-width:1240px){
.page.contents{display:grid;grid-template-columns:190px minmax(0,1fr);column-gap:2.6rem}
.contents>header{grid-column:1/-1}
.contents>nav{position:sticky;top:1.5rem;align-self:start;max-height:calc(100vh - 3rem);overflow-y:auto;margin-top:1.9rem}
nav ol{display:block}
nav a{padding:.22rem 0}
main>section:first-child{margin-top:1.4rem}
}
@media screen and (max-width:699px){
.page{padding:1rem 1rem 3rem}
.narrow{display:block}
.wide{display:none}
figure,.panel{border-width:1px 0 0;border-radius:0;background:none;padding:1rem 0 .4rem}
.panel+.panel{margin-top:.4rem}
section>h2+.figures>:first-child,section>h2+.panel{border-top:0;padding-top:.2rem}
.tiles{grid-template-columns:1fr 1fr}
th,td{padding:.32rem .5rem}
.figures{gap:.6rem}
.facts{grid-template-columns:minmax(0,1fr);gap:0}
.facts dd{margin-bottom:.45rem}
section{margin-top:2.2rem}
}
@media print{
body{background:none;font-size:10.5pt}
.page{max-width:none;padding:0}
.page.contents{display:block}
nav,.theme,.tip,summary{display:none}
details:not([open]){display:none}
.figures{grid-template-columns:minmax(0,1fr)}
figure,.panel,.tiles>div{border-color:#ccc}
figure,tr,.tiles>div,.flowers>div{break-inside:avoid}
h2,h3,h4,figcaption{break-after:avoid}
.scroll{overflow:visible}
table{font-size:7.5pt}
th,td{padding:.15rem .35rem}
section{margin-top:1.6rem}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}
}
`;
