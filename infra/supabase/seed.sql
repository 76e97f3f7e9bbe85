-- For one machine only: what the sandbox has. In the cloud an operator enters it (docs/OPERATIONS.md).
update public.plans set stripe_price_id = 'price_pro_monthly' where id = 'pro' and stripe_price_id is null;
update public.credit_packs set stripe_price_id = 'price_pack_small' where id = 'small' and stripe_price_id is null;
update public.credit_packs set stripe_price_id = 'price_pack_large' where id = 'large' and stripe_price_id is null;
-- Here fal is set up, too.
update public.model_presets set offered = true where id = 'fashion_model_fal';
